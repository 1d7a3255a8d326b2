// Report as JSON and back. README.md lists the fields; a test holds the two together.
#include <cmath>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "launch/bench/report.hpp"
#include "nodes/base/json.hpp"

namespace fovea::bench {
namespace {

constexpr const char* kSchema = "fovea-bench/2";
constexpr const char* kOldSchema = "fovea-bench/1";  // its figures are the same

std::string_view name_of(Better better) {
  return better == Better::kLower ? "lower" : better == Better::kHigher ? "higher" : "neither";
}

Json config_json(const BenchConfig& config) {
  Json parameters = Json::object();
  for (const auto& [key, value] : config.parameters) parameters[key] = value;
  return {{"video", config.video},
          {"width", config.width},
          {"height", config.height},
          {"cameras", config.cameras},
          {"rate", config.rate == kMaxRate ? Json("max") : Json(config.rate)},
          {"phase", config.phase == Phase::kSpread ? "spread" : "aligned"},
          {"model", config.model.string()},
          {"precision", config.precision},
          {"calibration", config.calibration},
          {"max_batch", config.max_batch},
          {"score_threshold", config.score_threshold},
          {"duration_s", config.duration_s},
          {"warmup_s", config.warmup_s},
          {"runs", config.runs},
          {"parameters", parameters},
          {"programs", config.programs.string()}};
}

Json host_json(const Host& host) {
  return {{"name", host.name},     {"cpu", host.cpu},          {"cores", host.cores},
          {"memory", host.memory}, {"kernel", host.kernel},    {"governor", host.governor},
          {"load", host.load},     {"features", host.features}};
}

Json figures_json(const std::vector<Figure>& figures) {
  Json object = Json::object();
  for (const Figure& figure : figures) {
    const Interval interval = figure.interval();
    object[figure.name] = {{"mean", figure.mean()},
                           {"low", interval.low},
                           {"high", interval.high},
                           {"unit", figure.unit},
                           {"better", name_of(figure.better)},
                           {"runs", figure.runs}};
  }
  return object;
}

Json spread_json(const Spread& spread) {
  Json object{
      {"count", spread.count}, {"mean", spread.mean}, {"min", spread.min}, {"max", spread.max}};
  for (std::size_t i = 0; i < kQuantiles.size(); ++i)
    object[std::string(kQuantiles[i].first)] = spread.quantiles[i];
  return object;
}

Json drops_json(const Report& report) {
  Json object = Json::object();
  for (const auto& [stage, drops] : report.drops) {
    for (std::size_t i = 0; i < kDropReasons; ++i)
      object[stage][std::string(to_string(static_cast<DropReason>(i)))] = drops[i];
  }
  return object;
}

Json books_json(const Report& report) {
  Json runs = Json::array();
  for (const auto& book : report.books) {
    Json cameras = Json::object();
    for (const CameraCount& camera : book) {
      cameras[camera.name] = {{"offered", camera.offered},
                              {"delivered", camera.delivered},
                              {"captured_total", camera.captured_total},
                              {"delivered_total", camera.delivered_total},
                              {"dropped_total", camera.dropped_total},
                              {"received_total", camera.received_total}};
    }
    runs.push_back(cameras);
  }
  return runs;
}

Json slice_json(const Slice& slice) {
  return {{"at_s", slice.at_s},
          {"fps", slice.fps},
          {"p50_ms", slice.p50_ms},
          {"p99_ms", slice.p99_ms},
          {"cpu_percent", slice.cpu_percent},
          {"hottest_c", slice.hottest_c > 0 ? Json(slice.hottest_c) : Json(nullptr)}};
}

Json slices_json(const Report& report) {
  Json runs = Json::array();
  for (const auto& slices : report.slices) {
    Json list = Json::array();
    for (const Slice& slice : slices) list.push_back(slice_json(slice));
    runs.push_back(list);
  }
  return runs;
}

// Mean, 95 % interval and every run's value.
void put(Json& object, const std::string& key, const std::vector<double>& runs) {
  const Interval interval = confidence_interval(runs);
  object[key] = mean(runs);
  object[key + "_low"] = interval.low;
  object[key + "_high"] = interval.high;
  object[key + "_runs"] = runs;
}

Json peak_json(const Peak& peak) {
  Json searches = Json::array();
  for (const std::vector<PeakStep>& steps : peak.steps) {
    Json list = Json::array();
    for (const PeakStep& step : steps)
      list.push_back({{"rate", step.rate}, {"loss", step.loss}, {"kept_up", step.kept_up}});
    searches.push_back(list);
  }
  Json object{{"limit", peak.limit}, {"rate", mean(peak.rate)}};
  put(object, "total_fps", peak.total_fps);
  object["steps"] = searches;
  return object;
}

Json rivals_json(const std::vector<Rival>& rivals) {
  Json list = Json::array();
  for (const Rival& rival : rivals) {
    Json object{{"name", rival.name}, {"what", rival.what}};
    if (rival.missing.empty()) {
      put(object, "fps", rival.fps);
      object["p50_ms"] = mean(rival.p50_ms);
      object["p99_ms"] = mean(rival.p99_ms);
      object["cpu_percent"] = mean(rival.cpu_percent);
      put(object, "ratio", rival.ratio);
    } else {
      object["missing"] = rival.missing;
    }
    list.push_back(object);
  }
  return list;
}

Json faults_json(const std::vector<Fault>& faults) {
  Json list = Json::array();
  for (const Fault& fault : faults) {
    list.push_back(
        {{"name", fault.name},
         {"at_s", fault.at_s},
         {"recovered_s", fault.recovered_s < 0 ? Json(nullptr) : Json(fault.recovered_s)},
         {"lost", fault.lost},
         {"detail", fault.detail}});
  }
  return list;
}

Json sweep_json(const std::vector<SweepPoint>& sweep) {
  Json list = Json::array();
  for (const SweepPoint& point : sweep) {
    Json object{{"cameras", point.cameras},
                {"precision", point.precision},
                {"model", point.model},
                {"batch", point.batch}};
    put(object, "fps", point.fps);
    put(object, "p50_ms", point.p50_ms);
    put(object, "p99_ms", point.p99_ms);
    put(object, "cpu_ms_per_frame", point.cpu_ms_per_frame);
    if (!point.peak_fps.empty()) put(object, "peak_fps", point.peak_fps);
    object["loss"] = point.loss;
    object["map_50_95"] = point.map_50_95 ? Json(*point.map_50_95) : Json(nullptr);
    object["on_front"] = point.on_front;
    list.push_back(object);
  }
  return list;
}

template <class T>
void read(const Json& object, const char* key, T& value) {
  if (const auto found = object.find(key); found != object.end()) value = found->get<T>();
}

}  // namespace

std::string to_json(const Report& report) {
  Json json{{"schema", kSchema},
            {"version", report.version},
            {"command", report.command},
            {"started", report.started},
            {"config", config_json(report.config)},
            {"input_hash", {{"video", report.hashes.video}, {"model", report.hashes.model}}},
            {"host", host_json(report.host)},
            {"engine", report.engine},
            {"turns", report.turns}};
  for (const auto& [name, value] : report.ros2) json[name] = value;
  if (!report.figures.empty()) {
    json["figures"] = figures_json(report.figures);
    json["latency_ms"] = spread_json(report.latency);
    Json cameras = Json::object();
    for (const Spread& camera : report.cameras) cameras[camera.name] = spread_json(camera);
    json["cameras"] = cameras;
    Json pieces = Json::object();
    for (const Spread& piece : report.pieces) pieces[piece.name] = spread_json(piece);
    json["pieces_ms"] = pieces;
    json["piece_sum_ratio"] = report.piece_sum_ratio;
    json["distribution"] = report.distribution;
    Json batches = Json::object();
    for (const auto& [size, number] : report.batches) batches[std::to_string(size)] = number;
    json["batches"] = batches;
    json["drops"] = drops_json(report);
    json["books"] = books_json(report);
    json["slice_s"] = report.slice_s;
    json["slices"] = slices_json(report);
    for (const Report::Ends& ends : report.sustained)
      json["sustained"].push_back(
          {{"first", slice_json(ends.first)}, {"last", slice_json(ends.last)}});
  }
  if (report.peak) json["peak"] = peak_json(*report.peak);
  if (!report.rivals.empty()) json["rivals"] = rivals_json(report.rivals);
  if (!report.faults.empty()) json["faults"] = faults_json(report.faults);
  if (!report.sweep.empty()) json["sweep"] = sweep_json(report.sweep);
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<Report> report_from_json(std::string_view text, std::string_view name) {
  const auto corrupt = [&](std::string_view what) {
    return fail(ErrorCode::kCorrupt, fmt::format("{}: {}", name, what));
  };
  const Json json = parse_json(text);
  if (!json.is_object()) return corrupt("is no JSON object");
  Report report;
  try {
    const std::string schema = json.value("schema", "");
    if (schema != kSchema && schema != kOldSchema)
      return corrupt(fmt::format("schema is `{}`; it must be `{}`", schema, kSchema));
    if (!json.contains("figures")) return corrupt("has no `figures`");
    read(json, "command", report.command);
    read(json, "started", report.started);
    read(json, "version", report.version);
    read(json, "engine", report.engine);
    read(json, "turns", report.turns);
    const auto& hashes = json.at("input_hash");
    read(hashes, "video", report.hashes.video);
    read(hashes, "model", report.hashes.model);
    const auto& config = json.at("config");
    read(config, "cameras", report.config.cameras);
    read(config, "precision", report.config.precision);
    if (config.at("rate").is_number())
      report.config.rate = config.at("rate").get<double>();
    else
      report.config.rate = kMaxRate;
    const auto& host = json.at("host");
    read(host, "name", report.host.name);
    read(host, "cpu", report.host.cpu);
    read(host, "cores", report.host.cores);
    for (const auto& [key, value] : json.at("figures").items()) {
      Figure figure;
      figure.name = key;
      read(value, "unit", figure.unit);
      const std::string better = value.value("better", "lower");
      figure.better = better == "lower"    ? Better::kLower
                      : better == "higher" ? Better::kHigher
                                           : Better::kNeither;
      figure.runs = value.at("runs").get<std::vector<double>>();
      for (const double run : figure.runs) {
        if (!std::isfinite(run)) return corrupt(fmt::format("figure `{}` is not finite", key));
      }
      report.figures.push_back(std::move(figure));
    }
  } catch (const Json::exception& error) {
    return corrupt(error.what());
  }
  return report;
}

}  // namespace fovea::bench
