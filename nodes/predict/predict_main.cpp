// `fovea predict`: pictures through the live pipeline in one process; what was found as a table, as
// JSON and drawn into the pictures. `fovea predict ...` becomes this process.
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <unistd.h>

#include "nodes/base/file_io.hpp"
#include "nodes/base/progress.hpp"
#include "nodes/base/terminal.hpp"
#include "nodes/base/text.hpp"
#include "nodes/detector/tool/picture_reader.hpp"
#include "nodes/imaging/video_reader.hpp"
#include "nodes/predict/annotate.hpp"
#include "nodes/predict/inputs.hpp"
#include "nodes/predict/predict_parameters.hpp"
#include "nodes/predict/predictor.hpp"
#include "nodes/predict/result_file.hpp"
#include "nodes/predict/result_table.hpp"
#include "nodes/predict/saved_pictures.hpp"

namespace fovea::predict {
namespace {

constexpr int kExitOk = 0;
constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;
constexpr int kExitInterrupted = 130;
constexpr std::size_t kMostRemarks = 3;  // of one video

std::atomic<bool> interrupted{false};

// The first signal asks politely, the second one kills.
void on_signal(int number) {
  interrupted = true;
  std::signal(number, SIG_DFL);
}

void note(const std::string& text) {
  clear_progress();
  print_error("{}", text);
}

int report(const Error& error) {
  note(fmt::format("fovea predict: {}", one_line(without_secrets(error.message))));
  return error.code == ErrorCode::kInvalidArgument ? kExitUsage : kExitFailure;
}

int report_interruption() {
  note("interrupted; what was not finished is not kept");
  return kExitInterrupted;
}

// Nothing is half written while an engine is built, so the process may end there.
engine::Progress build_progress() {
  return [bar = StageProgress()](std::string_view stage, double done) mutable {
    if (interrupted) std::_Exit(report_interruption());
    bar.update(stage, done);
  };
}

Result<std::unique_ptr<Predictor>> make_predictor(const PredictorOptions& options) {
  const auto max_pixels = static_cast<std::uint64_t>(options.engine.max_pixels);
  EngineBuildEvents events;
  events.progress = build_progress();
  events.information = [](std::string_view text) { note(std::string(text)); };
  events.warning = [](std::string_view text) { note(std::string(text)); };
  events.tuned = [](const engine::TuningReport& tuning) {
    for (const std::string& rejected : tuning.rejected) note("warning: tuning rejects " + rejected);
    if (!tuning.warning.empty()) note("warning: " + tuning.warning);
  };
  events.keep_going = [] { return !interrupted; };
  return Predictor::create(
      options, [max_pixels](const std::string& path) { return read_picture(path, max_pixels); },
      events,
      [&] {
        note(fmt::format("building the engine of {}, which the plan cache keeps{}",
                         said(options.engine.model),
                         options.engine.tuning_level > 0
                             ? "; builder_optimization_level:=0 builds faster and runs slower"
                             : ""));
      });
}

// Goes through the inputs and tells everybody what was found.
class Run {
 public:
  Run(const Command& command, const Inputs& inputs, Predictor& predictor,
      std::optional<SavedPictures> saved)
      : command_(command),
        inputs_(inputs),
        predictor_(predictor),
        saved_(std::move(saved)),
        file_(command.json, command.predictor.engine.model, predictor.task()),
        table_(inputs.files, predictor.class_names(), predictor.task()),
        on_terminal_(::isatty(STDERR_FILENO) != 0) {
    for (const Inputs::Problem& problem : inputs.problems) {
      summary_.failures.push_back({problem.word, problem.error.message});
    }
  }

  // Errors: what could not be written. What was finished until then is written all the same.
  Result<> all() {
    const auto start = std::chrono::steady_clock::now();
    if (!file_.on_stdout()) print_out("{}", table_.head());
    const Result<> passed = pass();
    sum_up();
    FOVEA_TRY(file_.finish(summary_));
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const std::string text = summary_text(summary_, counts_, seconds);
    if (file_.on_stdout()) {
      print_text(STDERR_FILENO, text);
    } else {
      print_out("\n{}", text);
    }
    return passed;
  }

  bool all_read() const { return summary_.failures.empty(); }

 private:
  Result<> pass() {
    CountProgress progress("pictures", inputs_.files.size());
    for (std::size_t i = 0; i < inputs_.files.size() && goes_on(); ++i) {
      if (on_terminal_) progress.update(i);
      FOVEA_TRY(inputs_.files[i].is_video ? video(i) : picture(i));
    }
    return {};
  }

  void sum_up() {
    const engine::EngineInfo& info = predictor_.info();
    summary_.task = predictor_.task();
    summary_.provider = info.provider;
    summary_.precision = to_string(info.precision);
    summary_.instruction_set = predictor_.instruction_set();
    summary_.threads = info.threads;
    summary_.interrupted = interrupted;
    if (summary_.pictures == 0) return;
    const auto count = static_cast<double>(summary_.pictures);
    summary_.mean = {sum_.preprocess / count, sum_.inference / count, sum_.postprocess / count};
  }

  bool goes_on() const { return !interrupted && stdout_takes(); }

  void fail_at(const std::string& file, const std::string& error) {
    note(fmt::format("fovea predict: {}", one_line(error)));
    summary_.failures.push_back({file, error});
  }

  Result<> picture(std::size_t index) {
    const std::string& path = inputs_.files[index].path;
    auto read =
        read_picture(path, static_cast<std::uint64_t>(command_.predictor.engine.max_pixels));
    if (!read) {
      fail_at(path, read.error().message);
      return {};
    }
    return predict(index, *read, {}, {});
  }

  Result<> video(std::size_t index) {
    const std::string& path = inputs_.files[index].path;
    const std::string name = one_line(path);
    const std::stop_token never;
    imaging::VideoOptions options;
    options.max_pixels = static_cast<std::uint64_t>(command_.predictor.engine.max_pixels);
    auto reader = imaging::VideoReader::open(path, options, never);
    if (!reader) {
      fail_at(path, fmt::format("{}: {}", name, reader.error().message));
      return {};
    }
    const imaging::VideoInfo& info = (*reader)->info();
    if (!info.remark.empty()) note(fmt::format("{}: {}", name, info.remark));
    CountProgress progress(name + ": frames", info.frame_count.value_or(0));
    std::size_t remarks = 0;
    for (std::uint64_t number = 0; goes_on(); ++number) {
      using Outcome = imaging::VideoReader::Outcome;
      const Outcome outcome = (*reader)->next(imaging::VideoReader::Deadline::max(), never);
      if (outcome == Outcome::kEnd || outcome == Outcome::kLost) {
        const std::string reason =
            outcome == Outcome::kLost ? (*reader)->reason() : (*reader)->missing_end(number);
        if (!reason.empty()) fail_at(path, fmt::format("{}: {}", name, reason));
        break;
      }
      if (outcome != Outcome::kFrame && ++remarks <= kMostRemarks) {
        fail_at(path, fmt::format("{}: frame {}: {}{}", name, number, (*reader)->reason(),
                                  remarks == kMostRemarks ? "; others are not told" : ""));
      }
      if (outcome == Outcome::kUndecodable) continue;
      Picture frame{(*reader)->width(), (*reader)->height(), {}};
      const std::size_t step = std::size_t{3} * frame.width;
      frame.bgr.resize(step * frame.height);
      const auto converted =
          (*reader)->convert({frame.bgr.data(), frame.width, frame.height, step});
      if (!converted) {  // it would be the same with every frame
        fail_at(path, fmt::format("{}: {}", name, converted.error().message));
        break;
      }
      std::optional<double> seconds;
      if (const auto time = (*reader)->time()) {
        seconds = std::chrono::duration<double>(*time).count();
      }
      FOVEA_TRY(predict(index, frame, number, seconds));
      if (on_terminal_) progress.update(number + 1);
    }
    return {};
  }

  Result<> predict(std::size_t index, Picture& picture, std::optional<std::uint64_t> frame,
                   std::optional<double> seconds) {
    const std::string& path = inputs_.files[index].path;
    auto found = predictor_.run(picture);
    if (!found) {
      fail_at(path, fmt::format("{}: {}", one_line(path), found.error().message));
      return {};
    }
    Prediction& prediction = *found;
    prediction.file = path;
    prediction.frame = frame;
    prediction.seconds = seconds;
    if (!prediction.warning.empty()) {
      note(fmt::format("warning: {}: {}", one_line(path), prediction.warning));
    }
    if (saved_) {
      annotate(picture, prediction);
      FOVEA_ASSIGN(prediction.saved, saved_->save(index, frame, picture));
    }
    ++summary_.pictures;
    summary_.objects += prediction.objects.size();
    for (const Object& object : prediction.objects) ++counts_[object.class_name];
    if (!prediction.classes.empty()) ++counts_[prediction.classes.front().class_name];
    sum_.preprocess += prediction.times.preprocess;
    sum_.inference += prediction.times.inference;
    sum_.postprocess += prediction.times.postprocess;
    FOVEA_TRY(file_.add(prediction));
    if (!file_.on_stdout()) {
      clear_progress();
      print_out("{}", table_.rows(prediction));
    }
    return {};
  }

  const Command& command_;
  const Inputs& inputs_;
  Predictor& predictor_;
  std::optional<SavedPictures> saved_;
  ResultFile file_;
  ResultTable table_;
  bool on_terminal_;
  Summary summary_;
  ClassCounts counts_;
  StageTimes sum_;
};

// What can be wrong with the places that results go to is said before anything takes long. The
// folder comes first, for the file may lie in it.
Result<std::optional<SavedPictures>> check_outputs(const Command& command, const Inputs& inputs) {
  ProtectedFiles given;
  given.add(command.predictor.engine.model);
  for (const Input& input : inputs.files) given.add(input.path);
  std::optional<SavedPictures> saved;
  if (!command.save.empty()) {
    auto created = SavedPictures::create(command.save, inputs.files, given);
    if (!created) return fail(created.error().with_context("--save"));
    saved.emplace(std::move(*created));
  }
  if (!command.json.empty() && command.json != "-") {
    if (given.has(command.json)) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("--json: {} is one of the files given", said(command.json)));
    }
    if (auto writable = check_writable(command.json); !writable) {
      return fail(writable.error().with_context("--json"));
    }
  }
  return saved;
}

int run(const std::vector<std::string>& words) {
  const auto command = parse_command(words);
  if (!command) {
    report(command.error());
    return kExitUsage;
  }
  if (!command->help.empty()) return write_stdout(command->help) ? kExitOk : kExitFailure;
  const Inputs inputs = collect_inputs(command->pictures);
  for (const Inputs::Problem& problem : inputs.problems) report(problem.error);
  if (inputs.files.empty()) return kExitFailure;
  auto saved = check_outputs(*command, inputs);
  if (!saved) return report(saved.error());
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  auto predictor = make_predictor(command->predictor);
  if (interrupted) return report_interruption();
  if (!predictor) return report(predictor.error());
  for (const std::string& warning : (*predictor)->warnings()) note("warning: " + warning);
  Run run(*command, inputs, **predictor, std::move(*saved));
  if (auto done = run.all(); !done) {
    report(done.error());
    return kExitFailure;
  }
  if (interrupted) return kExitInterrupted;
  return run.all_read() ? kExitOk : kExitFailure;
}

}  // namespace
}  // namespace fovea::predict

int main(int argc, char** argv) {
  fovea::prepare_process();
  std::vector<std::string> words = fovea::take_arguments(argc, argv);
  words.erase(words.begin());
  return fovea::exit_code_of_tool("fovea predict", fovea::predict::run(words));
}
