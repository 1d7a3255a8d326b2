// `verify`: is the engine right? Accuracy on a labelled folder, through the very letterbox, decoder
// and suppression of the live nodes; or, output by output, against the reference provider.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "nodes/detector/accuracy.hpp"
#include "nodes/detector/engine_cli.hpp"
#include "nodes/detector/labelled_set.hpp"

namespace fovea::engine_cli {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Below this the engine counts as wrong. f32 sums in another order stay above 0.999999.
constexpr double kLeastCosine = 0.9999;

double cosine(std::span<const float> a, std::span<const float> b, double& largest_difference) {
  double ab = 0;
  double aa = 0;
  double bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
    largest_difference = std::max(largest_difference, std::abs(static_cast<double>(a[i]) - b[i]));
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : (aa == bb ? 1 : 0);
}

std::span<const float> floats(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float)};
}

// Blocks of constant colour with some noise: edges at all scales, the same on every machine.
void paint(std::span<std::byte> image, std::size_t width) {
  std::uint32_t state = 1;
  for (std::size_t i = 0; i < image.size(); ++i) {
    state = state * 1664525U + 1013904223U;
    const std::size_t pixel = i / 3;
    const std::size_t tile = pixel % width / 37 + 11 * (pixel / width / 29) + 5 * (i % 3);
    image[i] = static_cast<std::byte>((tile * 67 % 224) + (state >> 27));
  }
}

struct VerifyCommand {
  ModelOptions model;
  std::string data;
  std::string image;
  std::uint64_t max_pixels = imaging::kDefaultMaxPixels;
  bool against_reference = false;
  JsonOption json;

  Result<int> measure_accuracy() const {
    FOVEA_ASSIGN(const LabelledSet set,
                 read_labelled_set(data));  // first: its faults are found at once
    FOVEA_ASSIGN(const ModelOptions::Source source, model.plan());
    FOVEA_ASSIGN(const ModelOptions::Shape shape, model.shape(source.plan));
    FOVEA_ASSIGN(auto engine, engine::load_engine(source.plan, shape.size));
    if (const auto& names = engine->info().class_names; !names.empty() && names != set.classes) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: {} classes that are not the model's {}", set.classes_file,
                              set.classes.size(), names.size()));
    }
    FOVEA_ASSIGN(DetectionPipeline pipeline, DetectionPipeline::create(std::move(engine)));
    std::vector<PictureResult> results;
    {
      Bar bar("pictures", set.pictures.size());
      for (const LabelledPicture& labelled : set.pictures) {
        if (interrupted) return kExitInterrupted;
        FOVEA_ASSIGN(const Picture picture, read_picture(labelled.image, max_pixels));
        auto boxes = pipeline.run(picture);
        if (!boxes) return fail(boxes.error().with_context(labelled.image));
        results.push_back(
            {in_pixels(labelled.boxes, picture.width, picture.height), std::move(*boxes)});
        bar.update(results.size());
      }
    }
    const Accuracy accuracy = evaluate_accuracy(results);
    Json per_class = Json::array();
    for (const ClassAccuracy& one : accuracy.classes) {
      per_class.push_back({{"class", set.classes[one.class_id]},
                           {"boxes", one.boxes},
                           {"ap50", 100 * one.ap50},
                           {"ap50_95", 100 * one.ap50_95}});
      say(json,
          fmt::format("{:<20} {:5} boxes  AP50 {:5.1f}  AP50-95 {:5.1f}", set.classes[one.class_id],
                      one.boxes, 100 * one.ap50, 100 * one.ap50_95));
    }
    const engine::EngineInfo& info = pipeline.info();
    say(json, fmt::format("{} pictures, {} boxes, {} classes, {} {}: mAP50 {:.2f}, mAP50-95 {:.2f}",
                          accuracy.pictures, accuracy.boxes, accuracy.classes.size(), info.provider,
                          info.precision, 100 * accuracy.map50, 100 * accuracy.map50_95));
    FOVEA_TRY(json.write(Json{
        {"map50", 100 * accuracy.map50},
        {"map50_95", 100 * accuracy.map50_95},
        {"precision", info.precision},
        {"images", accuracy.pictures},
        {"boxes", accuracy.boxes},
        {"per_class",
         per_class}}.dump(2)));
    return kExitOk;
  }

  Result<> fill_input(std::span<std::byte> input, const engine::EngineInfo& info) const {
    const auto width = static_cast<std::uint32_t>(info.input.dims[1]);
    if (image.empty()) {
      paint(input, width);
      return {};
    }
    FOVEA_ASSIGN(const Picture picture, read_picture(image, max_pixels));
    FOVEA_ASSIGN(auto letterbox, letterbox_for(info));
    if (auto done = letterbox.run(view_of(picture), input); !done) return fail(done.error());
    return {};
  }

  Result<int> compare_with_reference() const {
    FOVEA_ASSIGN(const ModelOptions::Source source, model.plan());
    const engine::Plan& plan = source.plan;
    engine::Plan reference_plan = plan;
    reference_plan.provider = "reference";
    std::vector<Bindings> bindings;
    std::vector<engine::TensorSpec> outputs;
    FOVEA_ASSIGN(const ModelOptions::Shape shape, model.shape(plan));
    for (const engine::Plan* one : {&plan, static_cast<const engine::Plan*>(&reference_plan)}) {
      FOVEA_ASSIGN(const auto engine, engine::load_engine(*one, shape.size));
      FOVEA_ASSIGN(const auto context, engine->create_execution_context());
      bindings.emplace_back(engine->info());
      FOVEA_TRY(fill_input(bindings.back().input(), engine->info()));
      const engine::BatchItem item = bindings.back().item();
      FOVEA_TRY(context->execute({&item, 1}));
      if (interrupted) return kExitInterrupted;
      outputs = engine->info().outputs;
    }
    bool good = true;
    Json list = Json::array();
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      double difference = 0;
      const double similarity =
          cosine(floats(bindings[0].output(i)), floats(bindings[1].output(i)), difference);
      good = good && similarity >= kLeastCosine;  // false for NaN
      list.push_back(
          {{"name", outputs[i].name}, {"cosine", similarity}, {"max_difference", difference}});
      say(json,
          fmt::format("{:<10} {:<16} cosine {:.8f}  largest difference {:.3g}", outputs[i].name,
                      engine::to_string(outputs[i].dims), similarity, difference));
    }
    say(json, good ? "the engine agrees with the reference"
                   : fmt::format("the engine differs from the reference: a cosine is below {}",
                                 kLeastCosine));
    FOVEA_TRY(json.write(Json{{"agrees", good}, {"outputs", list}}.dump(2)));
    return good ? kExitOk : kExitFailure;
  }

  int run() const {
    if (data.empty() != against_reference) {
      return report({ErrorCode::kInvalidArgument, "give either --data DIR or --against-reference"});
    }
    const auto code = against_reference ? compare_with_reference() : measure_accuracy();
    return code ? *code : report(code.error());
  }
};

}  // namespace

Command add_verify(CLI::App& app) {
  auto command = std::make_shared<VerifyCommand>();
  command->model.declare(app, /*accept_engine=*/true);
  command->model.declare_shapes(app);
  app.add_option("--data", command->data,
                 "Folder with images/, labels/ (YOLO text) and classes.txt");
  app.add_flag("--against-reference", command->against_reference,
               "Compare every output with the reference's");
  app.add_option("--image", command->image,
                 "Picture for --against-reference; default: a synthetic one");
  declare_max_pixels(app, command->max_pixels);
  command->json.declare(app);
  return [command] { return command->run(); };
}

}  // namespace fovea::engine_cli
