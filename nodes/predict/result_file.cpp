#include "nodes/predict/result_file.hpp"

#include <cmath>
#include <cstdlib>
#include <initializer_list>
#include <utility>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "nodes/base/file_io.hpp"
#include "nodes/base/terminal.hpp"

namespace fovea::predict {

namespace {

using Json = nlohmann::ordered_json;

std::string dumped(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// The double whose shortest text is the float's: 0.93, not 0.9300000071525574.
double as_written(float value) { return std::strtod(fmt::format("{}", value).c_str(), nullptr); }

double rounded_ms(double ms) { return std::round(ms * 1000) / 1000; }

Json json_of(const StageTimes& times) {
  return {{"preprocess", rounded_ms(times.preprocess)},
          {"inference", rounded_ms(times.inference)},
          {"postprocess", rounded_ms(times.postprocess)}};
}

Json list_of(std::initializer_list<float> values) {
  Json list = Json::array();
  for (const float value : values) list.push_back(as_written(value));
  return list;
}

template <typename Values, typename Change>
Json list_of(const Values& values, Change change) {
  Json list = Json::array();
  for (const auto& value : values) list.push_back(change(value));
  return list;
}

Json json_of(const Object& object, const Prediction& prediction) {
  Json json = {{"class_id", object.class_id},
               {"class", object.class_name},
               {"score", as_written(object.score)},
               {"box", list_of({object.box.x1, object.box.y1, object.box.x2, object.box.y2})}};
  if (!object.mask.empty()) {
    json["mask"] = {{"size", {prediction.height, prediction.width}}, {"counts", object.mask}};
  }
  if (!object.keypoints.empty()) {
    json["keypoints"] = list_of(object.keypoints, [](const Keypoint& point) {
      return list_of({point.x, point.y, point.visibility});
    });
  }
  if (!object.corners.empty()) {
    json["corners"] = list_of(object.corners, [](const Point& point) {
      return list_of({point.x, point.y});
    });
  }
  return json;
}

Json json_of(const ClassScore& one) {
  return {{"class_id", one.class_id}, {"class", one.class_name}, {"score", as_written(one.score)}};
}

// Runs of one label, row by row; a run ends with its row.
Json json_of(const LabelMap& map) {
  Json runs = Json::array();
  for (std::size_t at = 0; at < map.labels.size();) {
    const std::size_t row_end = (at / map.width + 1) * map.width;
    std::size_t end = at + 1;
    while (end < row_end && map.labels[end] == map.labels[at]) ++end;
    runs.push_back({map.labels[at], end - at});
    at = end;
  }
  return {{"size", {map.height, map.width}}, {"runs", std::move(runs)}};
}

// No number where there is no distance.
Json json_of(const DepthMap& depth) {
  Json values = Json::array();
  for (const float value : depth.values) {
    values.push_back(std::isnan(value) ? Json(nullptr) : Json(as_written(value)));
  }
  return {{"size", {depth.height, depth.width}},    {"unit", "m"},
          {"nearest", as_written(depth.nearest)},   {"median", as_written(depth.median)},
          {"farthest", as_written(depth.farthest)}, {"values", std::move(values)}};
}

}  // namespace

std::string to_json(const Prediction& prediction) {
  Json json = Json::object();
  json["file"] = prediction.file;
  if (prediction.frame) json["frame"] = *prediction.frame;
  if (prediction.seconds) json["seconds"] = *prediction.seconds;
  json["width"] = prediction.width;
  json["height"] = prediction.height;
  if (prediction.task == Task::kClassify) {
    json["top5"] = list_of(prediction.classes, [](const ClassScore& one) {
      return Json::array({one.class_id, as_written(one.score)});
    });
    json["classes"] =
        list_of(prediction.classes, [](const ClassScore& one) { return json_of(one); });
  } else if (prediction.task == Task::kSemantic) {
    json["classes"] = list_of(prediction.classes, [](const ClassScore& one) {
      return Json{
          {"class_id", one.class_id}, {"class", one.class_name}, {"share", as_written(one.score)}};
    });
    json["semantic_map"] = json_of(prediction.map);
  } else if (prediction.task == Task::kDepth) {
    json["depth"] = json_of(prediction.depth);
  } else {
    json["detections"] = list_of(prediction.objects,
                                 [&](const Object& object) { return json_of(object, prediction); });
  }
  json["ms"] = json_of(prediction.times);
  if (!prediction.warning.empty()) json["warning"] = prediction.warning;
  if (!prediction.saved.empty()) json["saved"] = prediction.saved;
  return dumped(json);
}

ResultFile::ResultFile(std::string target, std::string_view model, Task task)
    : target_(std::move(target)),
      text_(fmt::format("{{\"task\":\"{}\",\"model\":{},\n\"pictures\":[",
                        kTaskNames[static_cast<std::size_t>(task)], dumped(Json(model)))) {}

Result<> ResultFile::write(std::string_view text) {
  text_ += text;
  if (!on_stdout()) return {};
  Result<> written = write_stdout(text_);
  text_.clear();
  return written;
}

Result<> ResultFile::add(const Prediction& prediction) {
  if (target_.empty()) return {};
  return write((std::exchange(is_empty_, false) ? "\n" : ",\n") + to_json(prediction));
}

Result<> ResultFile::finish(const Summary& summary) {
  if (target_.empty()) return {};
  Json failures = Json::array();
  for (const Failure& failure : summary.failures) {
    failures.push_back({{"file", failure.file}, {"error", failure.error}});
  }
  Json engine = {{"provider", summary.provider}, {"precision", summary.precision}};
  if (!summary.instruction_set.empty()) engine["instruction_set"] = summary.instruction_set;
  engine["threads"] = summary.threads;
  std::string end = fmt::format("\n],\n\"unreadable\":{},\n\"engine\":{},\n\"ms\":{}",
                                dumped(failures), dumped(engine), dumped(json_of(summary.mean)));
  if (summary.interrupted) end += ",\n\"interrupted\":true";
  FOVEA_TRY(write(end + "}\n"));
  return on_stdout() ? Result<>() : write_file(target_, text_);
}

}  // namespace fovea::predict
