// `profile` and `diff`: where an engine's time goes, and what two engines do differently.
#include <algorithm>
#include <map>
#include <memory>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "nodes/base/file_io.hpp"
#include "nodes/detector/tool/engine_cli_layers.hpp"
#include "nodes/detector/tool/options.hpp"

namespace fovea::engine_cli {

namespace {

using Json = nlohmann::ordered_json;

std::string dumped(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

struct ProfileCommand {
  ModelOptions model;
  double duration_s = 2;
  bool by_time = false;
  std::size_t top = 0;
  JsonOption json;

  Result<int> profile() const {
    FOVEA_ASSIGN(const ModelOptions::Source source, model.plan());
    FOVEA_ASSIGN(const ModelOptions::Shape shape, model.shape(source.plan));
    FOVEA_ASSIGN(LayerTable table, describe_layers(source.plan, duration_s, shape.size));
    if (interrupted) return kExitInterrupted;
    if (by_time) {
      std::stable_sort(table.rows.begin(), table.rows.end(),
                       [](const LayerRow& a, const LayerRow& b) { return a.ms > b.ms; });
    }
    double gflop = 0;
    for (const LayerRow& row : table.rows) gflop += row.gflop;
    say(json, fmt::format("{:>8} {:>6} {:>8} {:>9}  {:<5} {:<28} {:<28} {}", "ms", "share", "GFLOP",
                          "GFLOP/s", "prec", "kernel", "operation", "layer"));
    Json rows = Json::array();
    for (std::size_t i = 0; i < table.rows.size(); ++i) {
      const LayerRow& row = table.rows[i];
      if (top == 0 || i < top) {
        say(json, fmt::format("{:8.4f} {:5.1f}% {:8.4f} {:9.1f}  {:<5} {:<28} {:<28} {}", row.ms,
                              table.share_pct(row.ms), row.gflop, row.gflop_per_s(), row.precision,
                              row.implementation, row.op, row.layer));
      }
      rows.push_back({{"layer", row.layer},
                      {"operation", row.op},
                      {"kernel", row.implementation},
                      {"precision", row.precision},
                      {"ms", row.ms},
                      {"share_pct", table.share_pct(row.ms)},
                      {"gflop", row.gflop},
                      {"gflop_per_s", row.gflop_per_s()}});
    }
    say(json, fmt::format("{:8.4f}        {:8.4f} {:9.1f}  all {} steps of one picture, {} threads",
                          table.ms, gflop, table.ms > 0 ? gflop / table.ms * 1e3 : 0.0,
                          table.rows.size(), source.plan.threads));
    const LayerTable::Part slow = table.on_reference();
    if (!slow.layers.empty()) {
      say(json, fmt::format("{:8.4f} {:5.1f}%  of it, {} of {} steps, on the reference kernels: {}",
                            slow.ms, table.share_pct(slow.ms), slow.layers.size(),
                            table.rows.size(), fmt::join(slow.layers, ", ")));
    }
    FOVEA_TRY(json.write(dumped({{"provider", source.plan.provider},
                                 {"precision", table.precision},
                                 {"threads", source.plan.threads},
                                 {"ms", table.ms},
                                 {"gflop", gflop},
                                 {"layers", rows},
                                 {"reference",
                                  {{"steps", slow.layers.size()},
                                   {"ms", slow.ms},
                                   {"share_pct", table.share_pct(slow.ms)}}},
                                 {"declined", table.declined}})));
    return kExitOk;
  }
  int run() const {
    const auto code = profile();
    return code ? *code : report(code.error());
  }
};

struct DiffCommand {
  std::string first;
  std::string second;
  double duration_s = 0;
  JsonOption json;

  struct Side {
    engine::Plan plan;
    std::vector<std::byte> bytes;
    LayerTable table;
  };
  Result<Side> read(const std::string& path) const {
    Side side;
    FOVEA_ASSIGN(side.bytes, read_file(path));
    auto plan = engine::deserialize(side.bytes);
    if (!plan) return fail(plan.error().with_context(path));
    side.plan = std::move(*plan);
    auto table = describe_layers(side.plan, duration_s);
    if (!table) return fail(table.error().with_context(path));
    side.table = std::move(*table);
    return side;
  }

  // Name, value in A, value in B of everything that is said once per plan and differs.
  static Json differing_settings(const Side& a, const Side& b) {
    const auto settings = [](const Side& side) {
      const engine::Plan& plan = side.plan;
      return std::vector<std::pair<std::string, std::string>>{
          {"provider", plan.provider},
          {"precision", std::string(to_string(plan.precision))},
          {"max_batch", std::to_string(plan.max_batch)},
          {"threads", std::to_string(plan.threads)},
          {"model", plan.model_hash},
          {"layers", std::to_string(plan.network.layers.size())},
          {"tuned_layers", std::to_string(plan.tactics.size())},
          {"steps", std::to_string(side.table.rows.size())},
          {"file_bytes", std::to_string(side.bytes.size())},
          {"context_bytes", std::to_string(side.table.context_bytes)}};
    };
    const auto left = settings(a);
    const auto right = settings(b);
    Json list = Json::array();
    for (std::size_t i = 0; i < left.size(); ++i) {
      if (left[i].second == right[i].second) continue;
      list.push_back({{"name", left[i].first}, {"a", left[i].second}, {"b", right[i].second}});
    }
    return list;
  }

  static Json to_json(const LayerRow* row) {
    if (row == nullptr) return nullptr;
    Json json = {{"kernel", row->implementation},
                 {"operation", row->op},
                 {"precision", row->precision},
                 {"fused", row->fused}};
    if (row->ms > 0) json["ms"] = row->ms;
    return json;
  }
  static std::string in_words(const LayerRow* row) {
    if (row == nullptr) return "absent";
    std::string text = row->implementation;
    if (!row->op.empty()) text += fmt::format(", {} {}", row->op, row->precision);
    if (row->ms > 0) text += fmt::format(", {:.4f} ms", row->ms);
    return text;
  }
  static bool same(const LayerRow& a, const LayerRow& b) {
    return a.implementation == b.implementation && a.op == b.op && a.precision == b.precision &&
           a.fused == b.fused;
  }

  Result<int> diff() const {
    FOVEA_ASSIGN(const Side a, read(first));
    FOVEA_ASSIGN(const Side b, read(second));
    if (interrupted) return kExitInterrupted;
    const bool equal = a.bytes == b.bytes;
    const Json settings = differing_settings(a, b);
    for (const Json& one : settings) {
      say(json, fmt::format("{:<14} {}  ->  {}", one["name"].get<std::string>(),
                            one["a"].get<std::string>(), one["b"].get<std::string>()));
    }
    // Steps may bear the same name: a layer and the conversion in front of it.
    std::map<std::pair<std::string, int>, const LayerRow*> others;
    std::map<std::string, int> seen;
    for (const LayerRow& row : b.table.rows) others[{row.layer, seen[row.layer]++}] = &row;
    seen.clear();
    Json layers = Json::array();
    std::size_t different = 0;
    const auto add = [&](const std::string& name, const LayerRow* left, const LayerRow* right) {
      const bool differs = left == nullptr || right == nullptr || !same(*left, *right);
      different += differs ? 1 : 0;
      if (!differs && duration_s == 0) return;
      layers.push_back(
          {{"layer", name}, {"differs", differs}, {"a", to_json(left)}, {"b", to_json(right)}});
      say(json, fmt::format("{} {}\n    a: {}\n    b: {}", differs ? "*" : " ", name,
                            in_words(left), in_words(right)));
    };
    for (const LayerRow& row : a.table.rows) {
      const auto other = others.find({row.layer, seen[row.layer]++});
      add(row.layer, &row, other == others.end() ? nullptr : other->second);
      if (other != others.end()) others.erase(other);
    }
    for (const auto& [name, row] : others) add(name.first, nullptr, row);
    say(json, equal ? std::string("the files are equal, byte for byte")
                    : fmt::format("{} settings and {} layers differ{}", settings.size(), different,
                                  settings.empty() && different == 0 ? "; only numbers do" : ""));
    if (duration_s > 0) say(json, fmt::format("{:.3f} ms  ->  {:.3f} ms", a.table.ms, b.table.ms));
    Json result = {{"equal", equal}, {"settings", settings}, {"layers", layers}};
    if (duration_s > 0) result["ms"] = {{"a", a.table.ms}, {"b", b.table.ms}};
    FOVEA_TRY(json.write(dumped(result)));
    return equal ? kExitOk : kExitFailure;
  }
  int run() const {
    const auto code = diff();
    if (code) return *code;
    report(code.error());
    return kExitTrouble;
  }
  static constexpr int kExitTrouble = 2;  // as of diff(1): 0 equal, 1 different, 2 trouble
};

}  // namespace

Command add_profile(CLI::App& app) {
  auto command = std::make_shared<ProfileCommand>();
  command->model.declare_with_engine(app);
  command->model.declare_shapes(app);
  add_option(app, "--duration", command->duration_s, "Seconds to measure")
      .shows_default()
      .range(0.001, 86400.0);
  add_flag(app, "--by-time", command->by_time, "Slowest first instead of in order of execution");
  add_option(app, "--top", command->top, "Print the first N only; 0 = all").shows_default();
  command->json.declare(app);
  return [command] { return command->run(); };
}

Command add_diff(CLI::App& app) {
  auto command = std::make_shared<DiffCommand>();
  add_option(app, "A", command->first, "Engine file").required();
  add_option(app, "B", command->second, "Engine file").required();
  add_option(app, "--profile", command->duration_s,
             "Also time every layer of both, for so many seconds each")
      .or_alone("1")
      .range(0.001, 86400.0);
  command->json.declare(app);
  return [command] { return command->run(); };
}

}  // namespace fovea::engine_cli
