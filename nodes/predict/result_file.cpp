#include "nodes/predict/result_file.hpp"

#include <cmath>
#include <cstdlib>
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

Json json_of(const Object& object) {
  return {{"class_id", object.class_id},
          {"class", object.class_name},
          {"score", as_written(object.score)},
          {"box",
           {as_written(object.box.x1), as_written(object.box.y1), as_written(object.box.x2),
            as_written(object.box.y2)}}};
}

}  // namespace

std::string to_json(const Prediction& prediction) {
  Json json = Json::object();
  json["file"] = prediction.file;
  if (prediction.frame) json["frame"] = *prediction.frame;
  if (prediction.seconds) json["seconds"] = *prediction.seconds;
  json["width"] = prediction.width;
  json["height"] = prediction.height;
  json["detections"] = Json::array();
  for (const Object& object : prediction.objects) json["detections"].push_back(json_of(object));
  json["ms"] = json_of(prediction.times);
  if (!prediction.warning.empty()) json["warning"] = prediction.warning;
  if (!prediction.saved.empty()) json["saved"] = prediction.saved;
  return dumped(json);
}

ResultFile::ResultFile(std::string target, std::string_view model)
    : target_(std::move(target)),
      text_(fmt::format("{{\"task\":\"detect\",\"model\":{},\n\"pictures\":[",
                        dumped(Json(model)))) {}

Result<> ResultFile::write(std::string_view text) {
  text_ += text;
  if (!on_stdout()) return {};
  const Result<> written = write_stdout(text_);
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
