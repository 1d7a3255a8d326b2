// Network inputs of many cameras in, raw head maps out: `<camera>/tensor` -> `<camera>/heads`.
//
// The executor's thread holds arriving tensors and queues the newest of each camera; one inference
// thread takes batches of them, loans an output slot per frame and runs the engine from held slots
// into loaned ones. No pixel or tensor is copied.
#include <algorithm>
#include <cmath>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "msgs/model_info.hpp"
#include "msgs/tensor.hpp"
#include "nodes/base/clock.hpp"
#include "nodes/base/cores.hpp"
#include "nodes/detector/engine/engine.hpp"
#include "nodes/detector/engine/profile.hpp"
#include "nodes/detector/engine/provider.hpp"
#include "nodes/detector/engine_parameters.hpp"
#include "nodes/detector/model_description.hpp"
#include "nodes/detector/serving/batcher.hpp"
#include "nodes/detector/serving/engine_server.hpp"
#include "nodes/runtime/log.hpp"
#include "nodes/runtime/process/node.hpp"
#include "nodes/runtime/stages/cameras.hpp"
#include "nodes/runtime/stages/stage_stream.hpp"

namespace fovea {
namespace {

// It works in batches of many cameras, so it is no Stage, but each camera's way through it is the
// same.
const StageSpec kSpec{.input = "tensor", .output = "heads", .latencies = {{"detector_us"}}};

class DetectorNode final : public Node {
 public:
  DetectorNode() : Node("detector", "Runs a YOLO network over batches of many cameras' frames") {}

  void declare_parameters(ParameterSet& p) override {
    add_cameras(p, &cameras_);
    add_engine_parameters(p, engine_);
    p.add("build",
          choice(&build_, {{"auto", BuildMode::kAuto},
                           {"wait", BuildMode::kWait},
                           {"beside", BuildMode::kBeside}}),
          "When the engine is not built yet: wait for it; serve with an untuned one and build "
          "beside; or auto: beside where building takes long");
    p.add("max_delay_ms", &max_delay_, "How long the oldest frame waits for others; 0 = not at all",
          Range{0, 1000}, "ms");
    p.add("slots", &slots_, "Shared-memory output slots per camera", Range{2, 64});
    add_reliability(p, &reliability_);
  }

  Result<> check_parameters() const override { return check_engine_parameters(engine_); }

  Result<> on_configure() override {
    auto configured = std::make_unique<Configured>();
    FOVEA_TRY(load(*configured));
    FOVEA_ASSIGN(auto info,
                 Publisher<msgs::ModelInfo>::create(domain(), name() + "/model_info",
                                                    {.durability = Durability::kTransientLocal}));
    configured->model_info.emplace(std::move(info));
    const StageOptions options{.reliability = reliability_, .slots = slots_};
    for (const std::string& camera : cameras_) {
      FOVEA_ASSIGN(auto stream, Stream::create(domain(), metrics(), camera, kSpec, options));
      configured->streams.push_back(std::move(stream));
    }
    configured_ = std::move(configured);
    return {};
  }

  Result<> on_activate() override {
    batcher_.emplace(configured_->streams.size(),
                     BatchPolicy{.max_batch = configured_->max_batch, .max_delay = max_delay_});
    for (std::size_t i = 0; i < configured_->streams.size(); ++i) {
      registrations_.push_back(
          spin(*configured_->streams[i]->input(),
               [this, i](Received<msgs::Tensor>&& tensor) { queue(i, std::move(tensor)); }));
    }
    configured_->model_info->publish(configured_->model_description);
    registrations_.push_back(executor().add_socket(configured_->model_info->socket(), [this] {
      configured_->model_info->subscription_count();  // serves late subscribers
    }));
    inference_ = std::thread([this] { infer(); });
    return {};
  }

  Result<> on_deactivate() override {
    for (Executor::Id id : registrations_) executor().remove(id);
    registrations_.clear();
    for (std::size_t i = 0; i < configured_->streams.size();
         ++i) {  // what already arrived still leaves
      configured_->streams[i]->input()->drain();
      while (auto tensor = configured_->streams[i]->input()->take()) queue(i, std::move(*tensor));
    }
    batcher_->close();
    inference_.join();
    batcher_.reset();
    return {};
  }

  Result<> on_cleanup() override {
    configured_.reset();
    return {};
  }

 private:
  using Stream = StageStream<msgs::Tensor, msgs::TensorArray>;
  using Frame = Received<msgs::Tensor>;

  struct Configured {
    std::size_t max_batch = 1;  // of the engine
    std::string engine_label;   // "cpu/fp32"; set before the inference thread runs, then its own
    std::vector<std::unique_ptr<Stream>> streams;
    std::optional<Publisher<msgs::ModelInfo>> model_info;
    msgs::ModelInfo model_description;
    HeadsDescription heads;
    Histogram* engine_us = nullptr;
    std::vector<Counter*> batches;  // by size - 1
    std::unique_ptr<EngineServer> server;
  };

  // What the node's status is made of.
  struct Status {
    msgs::DiagnosticLevel level = msgs::DiagnosticLevel::kOk;  // the engine's, as the next two
    std::string engine;
    std::string warning;
    std::string refusal;  // empty if every stream is served
  };

  // The engine, and what every frame's message has in common.
  Result<> load(Configured& configured) {
    {
      const std::lock_guard lock(status_mutex_);
      status_ = {};
    }
    FOVEA_ASSIGN(const PlanRequest plan, plan_request(engine_, Spelling::kParameters));
    configured.max_batch = static_cast<std::size_t>(plan.config.max_batch);
    ServeRequest request{.engine = engine_};
    request.mode = build_;
    FOVEA_ASSIGN(
        configured.server,
        EngineServer::start(
            std::move(request),
            {.progress = [this](const BuildProgress& progress) { show_progress(progress); },
             .information = [](std::string_view text) { log_info("{}", text); },
             .warning =
                 [this](std::string_view text) {
                   log_warning("{}", text);
                   set_engine_status(msgs::DiagnosticLevel::kWarn, text);
                 },
             .serving = [this, label = &configured.engine_label](
                            const ServedEngine& served) { show_engine(served, *label); },
             .keep_going =
                 [this] {
                   beat();
                   return !Executor::stop_signalled();
                 },
             .accept = [this](const engine::EngineInfo& info) -> Result<> {
               FOVEA_TRY(describe(info));
               return {};
             }}));
    configured.engine_us = &metrics().histogram("engine_us");
    for (std::size_t size = 1; size <= configured.max_batch; ++size) {
      configured.batches.push_back(&metrics().counter("batches", "", std::to_string(size)));
    }
    const engine::EngineInfo& info = configured.server->info();
    FOVEA_ASSIGN(configured.model_description, describe(info));
    configured.heads = describe_heads(info, configured.model_description.model_id);
    for (const std::string& warning : info.head.warnings)
      log_warning("{}: {}", engine_.model, warning);
    if (!info.head.warnings.empty()) {
      set_engine_status(msgs::DiagnosticLevel::kWarn, info.head.warnings.front());
    }
    return {};
  }

  // Errors: for a model whose maps no postprocess could decode.
  Result<msgs::ModelInfo> describe(const engine::EngineInfo& info) const {
    auto description = describe_model(info, model_id(info));
    if (!description) return fail(description.error().with_context(engine_.model));
    return description;
  }

  // While nothing is served yet, or from the thread that waits for a builder process.
  void show_progress(const BuildProgress& progress) {
    const double percent = progress.done * 100;
    if (!progress.beside) {
      beat();
      set_engine_status(msgs::DiagnosticLevel::kOk,
                        fmt::format("building engine: {} ({:.0f} %)", progress.stage, percent));
      return;
    }
    const std::string eta =
        progress.eta_s < 0 ? "" : fmt::format(", {:.0f} s left", std::ceil(progress.eta_s));
    const std::string text = fmt::format("building {} engine beside: {} ({:.0f} %{})",
                                         engine_.precision, progress.stage, percent, eta);
    set_served_status(text);
    metrics().counter("build_progress_pct") = static_cast<std::uint64_t>(percent);
    metrics().counter("build_eta_s") =
        static_cast<std::uint64_t>(std::ceil(std::max(progress.eta_s, 0.0)));
    log_info("{}", text);
  }

  // At the start, then from the inference thread, between two batches. `shown` is the label of the
  // engine before, which this one's replaces.
  void show_engine(const ServedEngine& served, std::string& shown) {
    const std::string label =
        fmt::format("{}/{}", served.info.provider, to_string(served.info.precision));
    {
      const std::lock_guard lock(status_mutex_);
      status_.warning = served.warning;
    }
    set_served_status("");
    if (!shown.empty()) {
      ++metrics().counter("engine_swaps");
      log_info("the {} engine, built in {:.1f} s, has taken over from {}", label, served.seconds,
               shown);
      metrics().counter("engine_info", "", shown) = 0;
    }
    metrics().counter("engine_info", "", label) = 1;
    shown = label;
    ++metrics().counter(served.cached ? "plan_hit" : "plan_built");
    metrics().counter("plan_build_ms") = static_cast<std::uint64_t>(served.seconds * 1e3);
  }

  // Any thread. What is wrong with an engine stays to be seen while it serves.
  void set_served_status(std::string text) {
    std::string warning;
    {
      const std::lock_guard lock(status_mutex_);
      warning = status_.warning;
    }
    if (warning.empty()) return set_engine_status(msgs::DiagnosticLevel::kOk, text);
    if (!text.empty()) text += "; ";
    set_engine_status(msgs::DiagnosticLevel::kWarn, text + warning);
  }

  // Any thread.
  void set_engine_status(msgs::DiagnosticLevel level, std::string_view text) {
    const std::lock_guard lock(status_mutex_);
    status_.level = level;
    status_.engine = text;
    if (status_.refusal.empty()) set_status(level, text);
  }

  // The executor's thread. Covers the engine's status while any stream's tensors are refused.
  void show_refusals() {
    const auto refused = std::find_if(configured_->streams.begin(), configured_->streams.end(),
                                      [](const auto& s) { return s->faults().any(); });
    const std::lock_guard lock(status_mutex_);
    if (refused == configured_->streams.end()) {
      status_.refusal.clear();
      set_status(status_.level, status_.engine);
    } else {
      status_.refusal = (*refused)->faults().status();
      set_status(msgs::DiagnosticLevel::kError, status_.refusal);
    }
  }

  void queue(std::size_t index, Frame&& frame) {
    Stream& stream = *configured_->streams[index];
    const std::uint64_t seq = frame.message.header.seq;
    if (const auto problem = mismatch(frame); !problem.empty()) {
      stream.ledger().drop(DropReason::kError);
      if (stream.faults().begin(ErrorCode::kInvalidArgument, "frames are refused: " + problem, seq))
        show_refusals();
      return;
    }
    if (stream.faults().clear(seq)) show_refusals();
    if (reliability_ == Reliability::kReliable) {
      if (!batcher_->put_in_turn(index, std::move(frame))) stream.ledger().drop(DropReason::kLost);
    } else if (batcher_->put(index, std::move(frame))) {
      stream.ledger().drop(DropReason::kSuperseded);
    }
  }

  // Why the engine cannot take this tensor; empty if it can.
  std::string mismatch(const Frame& frame) const {
    const engine::TensorSpec& input = configured_->server->info().input;
    const msgs::Tensor& tensor = frame.message;
    if (tensor.dtype != msgs::DataType::kUint8) {
      return fmt::format("dtype is {}; it must be uint8", msgs::enum_name(tensor.dtype));
    }
    if (tensor.rank != input.dims.size() || tensor.dims[2] != input.dims[2]) {
      return "it is no picture of three channels, [height, width, 3]";
    }
    if (!std::equal(input.dims.begin(), input.dims.end(), tensor.dims.begin())) {
      return fmt::format(
          "it is {0}x{1} and the network's input {2}x{3} (width x height); preprocess's width and "
          "height must be 0 or those, or input_size here {0}x{1} if the model leaves it open",
          tensor.dims[1], tensor.dims[0], input.dims[1], input.dims[0]);
    }
    if (frame.buffer.data().size() < input.bytes) {
      return fmt::format("it has {} bytes; the network's input takes {}",
                         frame.buffer.data().size(), input.bytes);
    }
    return {};
  }

  void infer() {
    FaultLog faults("engine");
    std::vector<Batcher<Frame>::Entry> batch;
    std::vector<WritableBuffer> slots;
    std::vector<engine::BatchItem> items;
    const engine::EngineInfo& info = configured_->server->info();
    const std::size_t outputs = info.outputs.size();
    std::vector<MemoryView> views(batcher_->max_batch() * outputs);
    batch.reserve(batcher_->max_batch());
    slots.reserve(batcher_->max_batch());
    items.reserve(batcher_->max_batch());
    while (batcher_->wait(batch)) {
      slots.clear();
      items.clear();
      std::erase_if(batch, [&](Batcher<Frame>::Entry& entry) {
        Stream& stream = *configured_->streams[entry.camera];
        stream.await_reader();
        auto slot = stream.loan(configured_->heads.bytes);
        if (!slot) return true;  // the publisher has counted it
        MemoryView* first = views.data() + items.size() * outputs;
        for (std::size_t i = 0; i < outputs; ++i) {
          const msgs::TensorView& tensor = configured_->heads.message.tensors[i];
          first[i] = {slot->data().data() + tensor.offset, info.outputs[i].bytes};
        }
        const std::span<const std::byte> input = entry.frame.buffer.data();
        items.push_back({.input = {input.data(), input.size()}, .outputs = {first, outputs}});
        slots.push_back(std::move(*slot));
        return false;
      });
      if (batch.empty()) continue;
      const std::int64_t started = monotonic_ns();
      const Result<> executed = configured_->server->execute(items);
      const std::int64_t finished = monotonic_ns();
      if (!executed) {
        const std::string text = "inference fails: " + executed.error().message;
        if (faults.begin(ErrorCode::kInternal, text, batch.front().frame.message.header.seq)) {
          set_engine_status(msgs::DiagnosticLevel::kError, text);
        }
        for (auto& entry : batch)
          configured_->streams[entry.camera]->ledger().drop(DropReason::kError);
        batch.clear();
        continue;
      }
      if (faults.clear(batch.front().frame.message.header.seq)) set_served_status("");
      configured_->engine_us->record(static_cast<std::uint64_t>((finished - started) / 1000));
      ++*configured_->batches[items.size() - 1];
      for (std::size_t i = 0; i < batch.size(); ++i) {
        publish(*configured_->streams[batch[i].camera], batch[i].frame, std::move(slots[i]),
                started, finished);
      }
      batch.clear();  // gives the tensors' slots back
    }
  }

  void publish(Stream& stream, Frame& frame, WritableBuffer&& slot, std::int64_t started,
               std::int64_t inferred) {
    configured_->heads.message.header = frame.message.header;
    configured_->heads.message.letterbox = frame.message.letterbox;
    stream.publish(configured_->heads.message, std::move(slot), configured_->heads.bytes, started,
                   inferred);
  }

  std::vector<std::string> cameras_;
  EngineRequest engine_;
  BuildMode build_ = BuildMode::kAuto;
  std::chrono::nanoseconds max_delay_{0};
  std::uint32_t slots_ = 4;
  Reliability reliability_ = Reliability::kBestEffort;

  // What the server's events touch is declared before its owner, `configured_`, and so outlives it.
  std::mutex status_mutex_;
  Status status_;  // guarded by status_mutex_

  std::unique_ptr<Configured> configured_;
  std::optional<Batcher<Frame>> batcher_;
  std::vector<Executor::Id> registrations_;
  std::thread inference_;
};

}  // namespace

std::unique_ptr<Node> make_node() { return std::make_unique<DetectorNode>(); }

}  // namespace fovea
