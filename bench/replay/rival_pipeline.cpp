#include "bench/replay/rival_pipeline.hpp"

#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <stop_token>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "launch/bench/resources.hpp"
#include "launch/bench/statistics.hpp"
#include "nodes/base/clock.hpp"
#include "nodes/base/cores.hpp"
#include "nodes/base/terminal.hpp"
#include "nodes/camera/frame_source.hpp"
#include "nodes/detector/accuracy/detection_pipeline.hpp"
#include "nodes/detector/model_description.hpp"
#include "nodes/detector/serving/engine_server.hpp"
#include "nodes/postprocess/postprocessor.hpp"
#include "nodes/preprocess/letterbox.hpp"

namespace fovea::bench {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// In front of every payload.
struct Envelope {
  std::int64_t captured = 0;
  std::uint32_t width = 0, height = 0;
  msgs::LetterboxTransform transform;
};

class Socket {
 public:
  Socket(void* context, int type, const std::string& endpoint, bool bind)
      : socket_(zmq_socket(context, type)) {
    const int one = 1;
    zmq_setsockopt(socket_, ZMQ_SNDHWM, &one, sizeof one);
    zmq_setsockopt(socket_, ZMQ_RCVHWM, &one, sizeof one);
    if (bind) {
      zmq_bind(socket_, endpoint.c_str());
    } else {
      zmq_connect(socket_, endpoint.c_str());
    }
  }
  ~Socket() {
    const int none = 0;
    zmq_setsockopt(socket_, ZMQ_LINGER, &none, sizeof none);
    zmq_close(socket_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  bool send(const Envelope& envelope, std::span<const std::byte> payload) {
    return zmq_send(socket_, &envelope, sizeof envelope, ZMQ_SNDMORE) >= 0 &&
           zmq_send(socket_, payload.data(), payload.size(), 0) >= 0;
  }
  bool receive(Envelope& envelope, std::vector<std::byte>& payload) {
    if (zmq_recv(socket_, &envelope, sizeof envelope, 0) != sizeof envelope) return false;
    zmq_msg_t message;
    zmq_msg_init(&message);
    const int size = zmq_msg_recv(&message, socket_, 0);
    if (size >= 0) {
      const auto* data = static_cast<const std::byte*>(zmq_msg_data(&message));
      payload.assign(data, data + size);
    }
    zmq_msg_close(&message);
    return size >= 0;
  }

 private:
  void* socket_;
};

Result<std::unique_ptr<EngineServer>> start_engine(const RivalTask& task) {
  ServeRequest request;
  request.engine.model = task.model;
  request.engine.precision = task.precision;
  request.engine.max_batch = 1;
  request.engine.calibration = task.calibration;
  request.mode = BuildMode::kWait;
  return EngineServer::start(std::move(request), {.progress = [](const BuildProgress&) {},
                                                  .information = [](std::string_view) {},
                                                  .warning = [](std::string_view) {},
                                                  .serving = [](const ServedEngine&) {},
                                                  .keep_going = [] { return true; }});
}

class CopyingPipeline {
 public:
  CopyingPipeline(const RivalTask& task, std::string folder)
      : task_(task), folder_(std::move(folder)) {}
  ~CopyingPipeline() {
    for (const pid_t pid : children_) kill(pid, SIGKILL);
    for (const pid_t pid : children_) waitpid(pid, nullptr, 0);
  }
  CopyingPipeline(const CopyingPipeline&) = delete;
  CopyingPipeline& operator=(const CopyingPipeline&) = delete;

  Result<RivalFigures> run() {
    for (std::uint32_t i = 0; i < task_.cameras; ++i) spawn([this, i] { return camera(i); });
    spawn([this] { return preprocess(); });
    spawn([this] { return detector(); });
    return postprocess();
  }

 private:
  std::string endpoint(const char* stage) const {
    return fmt::format("ipc://{}/{}", folder_, stage);
  }

  void spawn(const std::function<Result<>()>& stage) {
    const pid_t pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const Result<> ended = stage();
      if (!ended) print_error("copying pipeline: {}", ended.error().message);
      _exit(1);
    }
    children_.push_back(pid);
  }

  Result<> camera(std::uint32_t index) {
    FOVEA_ASSIGN(auto probe, frames::make_frame_source("file://" + task_.video, {.loop = true}));
    FOVEA_TRY(probe->open());
    frames::SourceOptions options;
    options.loop = true;
    options.rate = frames::kAsFastAsPossible;
    options.start_offset = probe->info().duration.value_or(0) * index / task_.cameras;
    FOVEA_ASSIGN(auto source, frames::make_frame_source("file://" + task_.video, options));
    FOVEA_TRY(source->open());
    void* context = zmq_ctx_new();
    Socket out(context, ZMQ_PUSH, endpoint("image"), false);
    std::vector<std::byte> pixels;
    for (;;) {
      FOVEA_ASSIGN(const auto grab, source->grab(1s));
      if (grab.status != frames::GrabStatus::kFrame) continue;
      const std::size_t step = std::size_t{3} * grab.frame.width;
      pixels.resize(step * grab.frame.height);
      const Envelope envelope{monotonic_ns(), grab.frame.width, grab.frame.height, {}};
      FOVEA_TRY(source->retrieve({pixels.data(), grab.frame.width, grab.frame.height, step}));
      if (!out.send(envelope, pixels)) return {};
    }
  }

  // Every stage but the cameras needs to know the network; its plan comes from the cache.
  Result<> preprocess() {
    FOVEA_ASSIGN(const auto server, start_engine(task_));
    FOVEA_ASSIGN(auto letterbox, letterbox_for(server->info()));
    void* context = zmq_ctx_new();
    Socket in(context, ZMQ_PULL, endpoint("image"), true);
    Socket out(context, ZMQ_PUSH, endpoint("tensor"), false);
    Envelope envelope;
    std::vector<std::byte> pixels;
    std::vector<std::byte> tensor(letterbox.output_bytes());
    while (in.receive(envelope, pixels)) {
      FOVEA_ASSIGN(envelope.transform, letterbox.run({.pixels = pixels,
                                                      .width = envelope.width,
                                                      .height = envelope.height,
                                                      .step = 3 * envelope.width},
                                                     tensor));
      if (!out.send(envelope, tensor)) return {};
    }
    return {};
  }

  Result<> detector() {
    FOVEA_ASSIGN(const auto server, start_engine(task_));
    const engine::Bindings bindings(server->info());
    void* context = zmq_ctx_new();
    Socket in(context, ZMQ_PULL, endpoint("tensor"), true);
    Socket out(context, ZMQ_PUSH, endpoint("heads"), false);
    Envelope envelope;
    std::vector<std::byte> tensor, heads;
    while (in.receive(envelope, tensor)) {
      if (tensor.size() != bindings.input().size()) return {};
      std::memcpy(bindings.input().data(), tensor.data(), tensor.size());
      FOVEA_TRY(server->execute(bindings.batch()));
      heads.clear();
      for (std::size_t i = 0; i < server->info().outputs.size(); ++i) {
        const auto output = bindings.output(i);
        heads.insert(heads.end(), output.begin(), output.end());
      }
      if (!out.send(envelope, heads)) return {};
    }
    return {};
  }

  Result<RivalFigures> postprocess() {
    FOVEA_ASSIGN(const auto server, start_engine(task_));
    const engine::EngineInfo& info = server->info();
    FOVEA_ASSIGN(const msgs::ModelInfo model, describe_model(info, 0));
    PostprocessOptions options;
    options.score_threshold = static_cast<float>(task_.score_threshold);
    FOVEA_ASSIGN(auto postprocessor, Postprocessor::create(model, options));
    void* context = zmq_ctx_new();
    Socket in(context, ZMQ_PULL, endpoint("heads"), true);
    Envelope envelope;
    std::vector<std::byte> heads;
    std::vector<HeadTensor> tensors;
    std::vector<double> latencies;
    auto found = std::make_unique<msgs::Detection2DArray>();
    RivalFigures figures;
    std::int64_t first = 0;
    std::int64_t begin = 0;
    double cpu_before = 0;
    for (;;) {
      if (!in.receive(envelope, heads))
        return fail(ErrorCode::kInternal, "the copying pipeline broke");
      tensors.clear();
      std::size_t offset = 0;
      for (const engine::TensorSpec& output : info.outputs) {
        tensors.push_back({output.name, msgs::DataType::kFloat32, output.dims,
                           std::span(heads).subspan(offset, output.bytes)});
        offset += output.bytes;
      }
      FOVEA_TRY(postprocessor.run(tensors, envelope.transform, *found));
      const std::int64_t now = monotonic_ns();
      if (first == 0) first = now;
      if (begin == 0 && now - first >= static_cast<std::int64_t>(task_.warmup_s * 1e9)) {
        begin = now;
        cpu_before = cpu_seconds();
        continue;
      }
      if (begin == 0) continue;
      latencies.push_back(static_cast<double>(now - envelope.captured) / 1e6);
      figures.detections += found->detections.size();
      const double seconds = static_cast<double>(now - begin) / 1e9;
      if (seconds < task_.duration_s) continue;
      figures.fps = static_cast<double>(latencies.size()) / seconds;
      figures.cpu_percent = 100 * (cpu_seconds() - cpu_before) / seconds;
      break;
    }
    const Sorted sorted(std::move(latencies));
    figures.p50_ms = sorted.quantile(0.5);
    figures.p99_ms = sorted.quantile(0.99);
    return figures;
  }

  double cpu_seconds() const {
    double sum = process_usage(getpid())->cpu_s;
    for (const pid_t pid : children_) {
      if (const auto usage = process_usage(pid)) sum += usage->cpu_s;
    }
    return sum;
  }

  const RivalTask& task_;
  std::string folder_;
  std::vector<pid_t> children_;
};

}  // namespace

Result<RivalFigures> run_copying_pipeline(const RivalTask& task) {
  // Built once here, so that the stages only load it.
  std::string folder = (fs::temp_directory_path() / "fovea-rival.XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) return fail_errno(ErrorCode::kInternal, folder);
  auto figures = CopyingPipeline(task, folder).run();
  std::error_code ignored;
  fs::remove_all(folder, ignored);
  return figures;
}

}  // namespace fovea::bench
