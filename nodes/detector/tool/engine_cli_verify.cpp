// `verify`: is the engine right? Accuracy on a labelled folder, through the very letterbox, decoder
// and suppression of the live nodes; or, output by output, against another provider or raw tensors
// from anywhere.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "nodes/base/progress.hpp"
#include "nodes/base/text.hpp"
#include "nodes/detector/accuracy/accuracy.hpp"
#include "nodes/detector/accuracy/label_picture.hpp"
#include "nodes/detector/accuracy/labelled_set.hpp"
#include "nodes/detector/engine/painted_picture.hpp"
#include "nodes/detector/engine/provider.hpp"
#include "nodes/detector/tool/engine_cli_bisect.hpp"
#include "nodes/detector/tool/engine_cli_tensors.hpp"
#include "nodes/detector/tool/options.hpp"

namespace fovea::engine_cli {

namespace {

using Json = nlohmann::ordered_json;

// Below this the engine counts as wrong. f32 sums in another order stay above 0.999999.
constexpr double kLeastCosine = 0.9999;
constexpr const char* kReference = "reference";

struct VerifyCommand {
  ModelOptions model;
  std::string data;
  std::string image;
  std::uint64_t max_pixels = imaging::kDefaultMaxPixels;
  std::string against;
  bool against_reference = false;
  bool find_layer = false;  // --bisect
  double min_cosine = kLeastCosine;
  std::optional<Option> min_cosine_option;
  TensorOptions tensors;
  JsonOption json;

  Result<int> measure_accuracy() const {
    FOVEA_ASSIGN(const ModelOptions::Source source, model.plan());
    FOVEA_ASSIGN(const ModelOptions::Shape shape, model.shape(source.plan));
    FOVEA_ASSIGN(auto engine, engine::load_engine(source.plan, shape.size));
    warn_of_another_precision(source.plan.precision, engine->info().precision);
    FOVEA_ASSIGN(const LabelledSet set,
                 read_labelled_set(
                     data, label_format(engine->info().head.spec, engine->info().class_names)));
    if (const auto& names = engine->info().class_names; !names.empty() && names != set.classes) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: {} classes that are not the model's {}", set.classes_file,
                              set.classes.size(), names.size()));
    }
    FOVEA_ASSIGN(DetectionPipeline pipeline, DetectionPipeline::create(std::move(engine)));
    const Task task = pipeline.task();
    TaskAccuracy accuracy(task);
    {
      CountProgress bar("pictures", set.pictures.size());
      std::size_t done = 0;
      for (const LabelledPicture& labelled : set.pictures) {
        if (interrupted) return kExitInterrupted;
        FOVEA_ASSIGN(const Picture picture, read_picture(labelled.image, max_pixels));
        const auto answer = pipeline.run(picture);
        if (!answer) return fail(answer.error().with_context(labelled.image));
        Answer truth = truth_of(labelled, task, picture.width, picture.height);
        if (!labelled.label_picture.empty()) {
          FOVEA_ASSIGN(truth.labels, read_label_picture(labelled.label_picture, set.classes.size(),
                                                        [&](const std::string& path) {
                                                          return read_picture(path, max_pixels);
                                                        }));
        }
        accuracy.add(truth, *answer);
        bar.update(++done);
      }
    }
    FOVEA_TRY(json.write((finds_objects(task) ? found(pipeline.info(), task, accuracy, set)
                                              : classified(pipeline.info(), task, accuracy, set))
                             .dump(2, ' ', false, Json::error_handler_t::replace)));
    return kExitOk;
  }

  // Of whole pictures, or of their pixels.
  Json classified(const engine::EngineInfo& info, Task task, const TaskAccuracy& measured,
                  const LabelledSet& set) const {
    const MetricNames& names = metric_names(task);
    const TaskScore score = measured.score();
    Json per_class = Json::array();
    for (const LabelTally::ClassScore& one : measured.labels().classes()) {
      per_class.push_back(
          {{"class", set.classes[one.class_id]}, {"pixels", one.pixels}, {"iou", 100 * one.iou}});
      say(json, fmt::format("{:<20} {:9} pixels  IoU {:5.1f}", shown(set.classes[one.class_id]),
                            one.pixels, 100 * one.iou));
    }
    say(json,
        fmt::format("{} pictures, {} classes, {} {}: {} {:.2f}, {} {:.2f}", set.pictures.size(),
                    set.classes.size(), info.provider, to_string(info.precision), names.map50_95,
                    100 * score.map50_95, names.map50, 100 * score.map50));
    const bool pixels = task == Task::kSemantic;
    Json result = {{pixels ? "miou" : "top1", 100 * score.map50_95},
                   {pixels ? "pixel_accuracy" : "top5", 100 * score.map50},
                   {"precision", to_string(info.precision)},
                   {"images", set.pictures.size()}};
    if (pixels) result["per_class"] = std::move(per_class);
    return result;
  }

  Json found(const engine::EngineInfo& info, Task task, const TaskAccuracy& measured,
             const LabelledSet& set) const {
    const Accuracy accuracy = measured.objects();
    const TaskScore score = measured.score();
    const MetricNames& names = metric_names(task);
    Json per_class = Json::array();
    for (const ClassAccuracy& one : accuracy.classes) {
      per_class.push_back({{"class", set.classes[one.class_id]},
                           {"boxes", one.boxes},
                           {"ap50", 100 * one.ap50},
                           {"ap50_95", 100 * one.ap50_95}});
      say(json, fmt::format("{:<20} {:5} boxes  AP50 {:5.1f}  AP50-95 {:5.1f}",
                            shown(set.classes[one.class_id]), one.boxes, 100 * one.ap50,
                            100 * one.ap50_95));
    }
    std::string text = fmt::format("{} pictures, {} boxes, {} classes, {} {}: {} {:.2f}, {} {:.2f}",
                                   accuracy.pictures, accuracy.boxes, accuracy.classes.size(),
                                   info.provider, to_string(info.precision), names.map50,
                                   100 * score.map50, names.map50_95, 100 * score.map50_95);
    Json result = {{"map50", 100 * score.map50}, {"map50_95", 100 * score.map50_95}};
    if (!names.box_map50_95.empty()) {
      text += fmt::format(", {} {:.2f}", names.box_map50_95, 100 * score.box_map50_95);
      result["box_map50_95"] = 100 * score.box_map50_95;
      result["judged_by"] = names.map50_95;
    }
    say(json, text);
    result["precision"] = to_string(info.precision);
    result["images"] = accuracy.pictures;
    result["boxes"] = accuracy.boxes;
    result["per_class"] = std::move(per_class);
    return result;
  }

  // What the engine sees: the files of --load-inputs, --image, or a synthetic picture.
  Result<std::vector<std::vector<std::byte>>> images(const engine::EngineInfo& info) const {
    FOVEA_ASSIGN(auto loaded, tensors.load(info, max_pixels));
    if (!loaded.empty()) return loaded;
    std::vector<std::byte> input(info.input.bytes);
    if (image.empty()) {
      engine::paint(input, static_cast<std::size_t>(info.input.dims[1]));
    } else {
      FOVEA_ASSIGN(const Picture picture, read_picture(image, max_pixels));
      FOVEA_ASSIGN(auto letterbox, letterbox_for(info));
      if (auto done = letterbox.run(view_of(picture), input); !done) return fail(done.error());
    }
    return std::vector<std::vector<std::byte>>{std::move(input)};
  }

  // The other side of the comparison.
  Result<std::vector<OutputTensor>> expected(const engine::Plan& plan, const engine::Dims& size,
                                             const std::vector<std::vector<std::byte>>& inputs,
                                             const std::vector<OutputTensor>& actual) const {
    if (!engine::find_provider(against)) return read_outputs(against, actual);
    engine::Plan other = plan;
    other.provider = against;
    const auto engine = engine::load_engine(other, size);
    if (!engine) return fail(engine.error().with_context("--against " + against));
    return run_images(**engine, inputs);
  }

  Result<int> compare() const {
    FOVEA_TRY(tensors.check());
    FOVEA_ASSIGN(const ModelOptions::Source source, model.plan());
    FOVEA_ASSIGN(const ModelOptions::Shape shape, model.shape(source.plan));
    FOVEA_ASSIGN(const auto engine, engine::load_engine(source.plan, shape.size));
    warn_of_another_precision(source.plan.precision, engine->info().precision);
    FOVEA_ASSIGN(const auto inputs, images(engine->info()));
    if (find_layer) return bisect(source.plan, shape.size, against, inputs, tensors, json);
    FOVEA_ASSIGN(const auto actual, run_images(*engine, inputs));
    FOVEA_TRY(tensors.save(actual));
    if (!tensors.outputs.empty()) {
      say(json, fmt::format("{}: {} outputs of {} inputs", tensors.outputs, actual.size(),
                            inputs.size()));
    }
    if (against.empty()) {
      FOVEA_TRY(json.write(Json{{"saved", tensors.outputs}, {"inputs", inputs.size()}}.dump(2)));
      return kExitOk;
    }
    FOVEA_ASSIGN(const auto wanted, expected(source.plan, shape.size, inputs, actual));
    bool good = true;
    Json list = Json::array();
    for (std::size_t i = 0; i < actual.size(); ++i) {
      const Difference apart = difference(actual[i].values, wanted[i].values);
      good = good && apart.cosine >= min_cosine;  // false for NaN
      const std::string name = one_line(actual[i].name);
      list.push_back({{"name", actual[i].name},
                      {"cosine", apart.cosine},
                      {"max_difference", apart.largest},
                      {"mean_difference", apart.mean}});
      say(json,
          fmt::format("{:<10} {:<16} cosine {:.8f}  largest difference {:.3g}  mean {:.3g}", name,
                      engine::to_string(actual[i].dims), apart.cosine, apart.largest, apart.mean));
    }
    const std::string other = against == kReference ? "the reference" : against;
    say(json,
        good ? fmt::format("the engine agrees with {}", other)
             : fmt::format("the engine differs from {}: a cosine is below {}", other, min_cosine));
    FOVEA_TRY(json.write(
        Json{{"agrees", good}, {"against", against}, {"inputs", inputs.size()}, {"outputs", list}}
            .dump(2, ' ', false, Json::error_handler_t::replace)));
    return good ? kExitOk : kExitFailure;
  }

  // What means nothing beside --bisect; its other side is the reference unless told.
  Result<> check_bisect() {
    const auto refused = [](const std::string& what) {
      return fail(ErrorCode::kInvalidArgument, what);
    };
    if (!data.empty()) {
      return refused(
          "--data means nothing beside --bisect, which looks at one picture: give it "
          "--image");
    }
    if (min_cosine_option->given()) {
      return refused(
          "--min-cosine means nothing beside --bisect, whose bounds are those of each "
          "layer's precision: leave it out");
    }
    if (tensors.one_file()) {
      return refused(
          fmt::format("--dump {} is one file; beside --bisect there are two tensors: "
                      "name a folder",
                      tensors.outputs));
    }
    if (against.empty()) against = kReference;
    if (auto known = engine::find_provider(against); !known) {
      return refused(fmt::format("--against '{}' beside --bisect must be a provider, one of {}",
                                 shown(against, 60), fmt::join(engine::provider_names(), ", ")));
    }
    return {};
  }

  int run() {
    if (against_reference && !against.empty() && against != kReference) {
      return report({ErrorCode::kInvalidArgument, "give either --against or --against-reference"});
    }
    if (against_reference) against = kReference;
    if (find_layer) {
      if (auto good = check_bisect(); !good) return report(good.error());
    }
    const bool compares = !against.empty() || !tensors.outputs.empty();
    if (data.empty() != compares) {
      return report(
          {ErrorCode::kInvalidArgument,
           "give either --data DIR, or --against FILE|FOLDER|PROVIDER, or --save-outputs"});
    }
    if (compares ? !image.empty() && !tensors.inputs.empty()
                 : !image.empty() || !tensors.inputs.empty()) {
      return report(
          {ErrorCode::kInvalidArgument,
           "--image and --load-inputs are for --against and --save-outputs, one of them"});
    }
    const auto code = compares ? compare() : measure_accuracy();
    return code ? *code : report(code.error());
  }
};

}  // namespace

Command add_verify(CLI::App& app) {
  auto command = std::make_shared<VerifyCommand>();
  command->model.declare_with_engine(app);
  command->model.declare_shapes(app);
  add_option(app, "--data", command->data,
             "Folder with images/, labels/ (YOLO text, of the model's task) and classes.txt; of a "
             "classifier, with pictures in folders named by class");
  add_option(app, "--against", command->against,
             fmt::format("Compare every raw output: with another provider's ({}), or with a .npy "
                         "FILE, or a FOLDER with <output>.npy, as --save-outputs writes them",
                         fmt::join(engine::provider_names(), ", ")));
  add_flag(app, "--against-reference", command->against_reference,
           "The same as --against reference");
  add_flag(app, "--bisect", command->find_layer,
           "Name the first layer whose output is not what the reference makes of the same inputs, "
           "and end with 1 if there is one; with --against another provider's layers, too. With "
           "--dump FOLDER both tensors are written");
  command->min_cosine_option = add_option(app, "--min-cosine", command->min_cosine,
                                          "Least cosine of each output at which the engine agrees");
  command->min_cosine_option->shows_default().range(-1.0, 1.0);
  add_option(app, "--image", command->image, "Picture to compare on; default: a synthetic one");
  declare_max_pixels(app, command->max_pixels);
  command->tensors.declare(app);
  command->json.declare(app);
  return [command] { return command->run(); };
}

}  // namespace fovea::engine_cli
