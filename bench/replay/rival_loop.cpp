#include "bench/replay/rival_loop.hpp"

#include <algorithm>
#include <chrono>
#include <map>

#include <fmt/format.h>
#include <opencv2/dnn.hpp>
#include <opencv2/imgproc.hpp>
#include <opencv2/videoio.hpp>
#include <unistd.h>

#include "launch/bench/resources.hpp"
#include "launch/bench/statistics.hpp"
#include "nodes/detector/model_description.hpp"
#include "nodes/postprocess/postprocessor.hpp"
#include "nodes/preprocess/letterbox.hpp"

namespace fovea::bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

class OpencvNetwork final : public RivalNetwork {
 public:
  OpencvNetwork(cv::dnn::Net network, std::size_t height, std::size_t width)
      : network_(std::move(network)),
        names_(network_.getUnconnectedOutLayersNames()),
        height_(static_cast<int>(height)),
        width_(static_cast<int>(width)) {}

  Result<std::vector<RawMap>> run(const std::vector<float>& planes) override {
    const int sizes[] = {1, 3, height_, width_};
    network_.setInput(cv::Mat(4, sizes, CV_32F, const_cast<float*>(planes.data())));
    network_.forward(outputs_, names_);
    std::vector<RawMap> maps;
    for (const cv::Mat& output : outputs_) {
      maps.push_back({static_cast<std::size_t>(output.size[1]),
                      static_cast<std::size_t>(output.size[2]),
                      static_cast<std::size_t>(output.size[3]), output.ptr<float>()});
    }
    return maps;
  }

 private:
  cv::dnn::Net network_;
  std::vector<cv::String> names_;
  std::vector<cv::Mat> outputs_;
  int height_, width_;
};

// Raw maps as our decoder wants them: innermost channels, by name.
class MapsForDecoder {
 public:
  explicit MapsForDecoder(const msgs::ModelInfo& model) : model_(model) {}

  Result<std::span<const HeadTensor>> arrange(const std::vector<RawMap>& maps) {
    tensors_.clear();
    for (const RawMap& map : maps) {
      const std::string name = name_of(map);
      if (name.empty())
        return fail(ErrorCode::kUnsupported,
                    fmt::format("an output of {}x{}x{} is none of the head's", map.channels,
                                map.height, map.width));
      Store& store = stores_[name];
      store.name = name;
      store.values.resize(map.channels * map.height * map.width);
      store.dims = {static_cast<std::int64_t>(map.height), static_cast<std::int64_t>(map.width),
                    static_cast<std::int64_t>(map.channels)};
      // A transposition by OpenCV's fast code: [c, h*w] -> [h*w, c].
      const auto cells = static_cast<int>(map.height * map.width);
      const cv::Mat from(static_cast<int>(map.channels), cells, CV_32F,
                         const_cast<float*>(map.values));
      cv::Mat to(cells, static_cast<int>(map.channels), CV_32F, store.values.data());
      cv::transpose(from, to);
      tensors_.push_back({store.name, msgs::DataType::kFloat32, store.dims,
                          std::as_bytes(std::span<const float>(store.values))});
    }
    return std::span<const HeadTensor>(tensors_);
  }

 private:
  struct Store {
    std::string name;
    std::vector<std::int64_t> dims;
    std::vector<float> values;
  };

  std::string name_of(const RawMap& map) const {
    for (const OutputMap& own : model_.head.maps) {
      if (own.stride > 0 && model_.network_height / own.stride == map.height &&
          own.channels == map.channels) {
        return std::string(own.tensor.view());
      }
    }
    return "";
  }

  const msgs::ModelInfo& model_;
  std::map<std::string, Store> stores_;
  std::vector<HeadTensor> tensors_;
};

// Scaled to fit, grey around, f32 planes: what every example of these libraries does.
void letterbox(const cv::Mat& frame, const msgs::LetterboxTransform& place,
               std::vector<float>& planes) {
  const auto side = [](std::uint32_t value) { return static_cast<int>(value); };
  cv::Mat scaled;
  cv::resize(frame, scaled, {side(place.new_width), side(place.new_height)});
  cv::Mat padded;
  const int below = side(place.network_height - place.new_height - place.pad_top);
  const int right = side(place.network_width - place.new_width - place.pad_left);
  cv::copyMakeBorder(scaled, padded, side(place.pad_top), below, side(place.pad_left), right,
                     cv::BORDER_CONSTANT, cv::Scalar(114, 114, 114));
  const int sizes[] = {1, 3, padded.rows, padded.cols};
  cv::Mat blob(4, sizes, CV_32F, planes.data());
  cv::dnn::blobFromImage(padded, blob, 1 / 255.0, {}, {}, true);
}

}  // namespace

Result<std::unique_ptr<RivalNetwork>> make_opencv_network(const std::string& file, int threads,
                                                          std::size_t height, std::size_t width) {
  cv::setNumThreads(threads);
  try {
    cv::dnn::Net net = cv::dnn::readNetFromONNX(file);
    net.setPreferableBackend(cv::dnn::DNN_BACKEND_OPENCV);
    return std::make_unique<OpencvNetwork>(std::move(net), height, width);
  } catch (const cv::Exception& error) {
    return fail(ErrorCode::kUnsupported, fmt::format("OpenCV: {}", error.what()));
  }
}

Result<RivalFigures> run_loop(const RivalTask& task, const engine::EngineInfo& info,
                              RivalNetwork& network) {
  FOVEA_ASSIGN(const msgs::ModelInfo model, describe_model(info, 0));
  PostprocessOptions options;
  options.score_threshold = static_cast<float>(task.score_threshold);
  FOVEA_ASSIGN(auto postprocessor, Postprocessor::create(model, options));
  FOVEA_ASSIGN(const auto placement, Letterbox::create({.network_width = model.network_width,
                                                        .network_height = model.network_height}));
  MapsForDecoder maps(model);
  std::vector<cv::VideoCapture> cameras;
  for (std::uint32_t i = 0; i < task.cameras; ++i) {
    cameras.emplace_back(task.video);
    if (!cameras.back().isOpened())
      return fail(ErrorCode::kNotFound, task.video + ": OpenCV cannot open it");
    const double frames = cameras.back().get(cv::CAP_PROP_FRAME_COUNT);
    cameras.back().set(cv::CAP_PROP_POS_FRAMES, std::floor(frames * i / task.cameras));
  }
  std::vector<float> planes(std::size_t{3} * model.network_height * model.network_width);
  std::vector<double> latencies;
  auto found = std::make_unique<msgs::Detection2DArray>();
  RivalFigures figures;
  cv::Mat frame;
  const Clock::time_point start = Clock::now();
  Clock::time_point begin = start;
  double cpu_before = 0;
  bool measuring = false;
  for (std::size_t turn = 0;; ++turn) {
    if (!measuring && seconds_since(start) >= task.warmup_s) {
      measuring = true;
      begin = Clock::now();
      cpu_before = process_usage(getpid())->cpu_s;
    }
    if (measuring && seconds_since(begin) >= task.duration_s) break;
    cv::VideoCapture& camera = cameras[turn % cameras.size()];
    if (!camera.read(frame)) {
      camera.set(cv::CAP_PROP_POS_FRAMES, 0);
      if (!camera.read(frame)) return fail(ErrorCode::kCorrupt, task.video + ": has no frames");
    }
    const Clock::time_point read = Clock::now();
    const auto place = placement.transform(static_cast<std::uint32_t>(frame.cols),
                                           static_cast<std::uint32_t>(frame.rows));
    letterbox(frame, place, planes);
    FOVEA_ASSIGN(const auto raw, network.run(planes));
    FOVEA_ASSIGN(const auto tensors, maps.arrange(raw));
    FOVEA_TRY(postprocessor.run(tensors, place, *found));
    if (!measuring) continue;
    latencies.push_back(seconds_since(read) * 1e3);
    figures.detections += found->detections.size();
  }
  const double seconds = seconds_since(begin);
  figures.fps = static_cast<double>(latencies.size()) / seconds;
  figures.cpu_percent = 100 * (process_usage(getpid())->cpu_s - cpu_before) / seconds;
  const Sorted sorted(std::move(latencies));
  figures.p50_ms = sorted.quantile(0.5);
  figures.p99_ms = sorted.quantile(0.99);
  return figures;
}

}  // namespace fovea::bench
