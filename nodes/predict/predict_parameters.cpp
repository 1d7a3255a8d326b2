#include "nodes/predict/predict_parameters.hpp"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "nodes/base/text.hpp"
#include "nodes/detector/engine_parameters.hpp"
#include "nodes/imaging/picture_name.hpp"
#include "nodes/postprocess/postprocess_parameters.hpp"

namespace fovea::predict {

namespace {

constexpr const char* kHelp =
    "Shows what a model finds in pictures, through the nodes' own letterbox, engine and decoder.\n"
    "\n"
    "Usage: fovea predict MODEL PICTURES... [NAME:=VALUE ...] [--json FILE] [--save FOLDER]\n"
    "\n"
    "  fovea predict yolov8n.onnx street.jpg holiday/ score_threshold:=0.4 --save found\n"
    "\n"
    "  MODEL          ONNX file of a YOLO model: detect, segment, pose, obb or classify; its "
    "engine\n"
    "                 comes from the plan cache, or is built and kept there\n"
    "  PICTURES       picture files, folders of pictures (without their sub-folders), video files\n"
    "  --json FILE    write the results as JSON; - = to stdout, in place of the table\n"
    "  --save FOLDER  draw what was found into copies of the pictures: a JPEG stays one, all else\n"
    "                 becomes PNG; a video's frames become numbered JPEGs in a folder of its "
    "name.\n"
    "                 Replaces copies of a run before, and no other file\n"
    "  --version      print the version and exit\n"
    "  -h, --help     print this help and exit\n"
    "\n"
    "Coordinates are in pixels of the picture as people see it: turned as its Exif data say, as\n"
    "OpenCV does. Progress goes to stderr.\n"
    "\n"
    "Exit status: 0; 1 if a picture cannot be read or a result not be written (the others go on);\n"
    "2 for a wrong command line; 130 after Ctrl-C, with the results of the pictures until then.\n"
    "\n"
    "Parameters, as the nodes detector and postprocess have them:\n";

constexpr std::size_t kHelpColumn = 29;
constexpr std::size_t kHelpWidth = 100;

struct Parameters {
  EngineRequest engine;
  PostprocessParameters postprocess;
  ParameterSet set;

  Parameters() {
    add_engine_parameters(set, engine);
    postprocess.declare(set);
  }
  Parameters(const Parameters&) = delete;
  Parameters& operator=(const Parameters&) = delete;
};

// NAME:=VALUE; a path may have the same characters further back.
bool is_assignment(std::string_view word) {
  const std::size_t at = word.find(":=");
  return at != std::string_view::npos && at > 0 &&
         std::all_of(word.begin(), word.begin() + static_cast<std::ptrdiff_t>(at), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
         });
}

// `text` in lines of kHelpWidth, all but the first indented by kHelpColumn.
std::string wrapped(const std::string& text) {
  std::string out;
  std::size_t column = kHelpColumn;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    if (column + (end - at) > kHelpWidth) {
      if (!out.empty()) out.pop_back();
      out += '\n' + std::string(kHelpColumn, ' ');
      column = kHelpColumn;
    }
    out += text.substr(at, end - at) + ' ';
    column += end - at + 1;
    at = end + 1;
  }
  if (!out.empty()) out.pop_back();
  return out;
}

std::string help_text(const ParameterSet& parameters) {
  std::string text = kHelp;
  for (const Parameter& parameter : parameters.all()) {
    if (parameter.name == "model") continue;  // MODEL
    text += fmt::format("  {:<27}{}\n", parameter.name, wrapped(describe(parameter)));
  }
  return text;
}

tl::unexpected<Error> usage(std::string text) {
  return fail(ErrorCode::kInvalidArgument, std::move(text));
}

Result<> check_known(const CLI::App& app) {
  for (const std::string& word : app.remaining()) {
    std::vector<std::string> known;
    for (const CLI::Option* option : app.get_options()) {
      if (!option->get_lnames().empty()) known.push_back("--" + option->get_lnames().front());
    }
    const std::string near = nearest(word.substr(0, word.find('=')), known);
    return usage(
        fmt::format("unknown option '{}'; {}", said(word),
                    near.empty() ? "--help lists all" : fmt::format("did you mean '{}'?", near)));
  }
  return {};
}

// What stands behind an option may be meant as the next word.
Result<> check_value(const char* option, const char* what, const CLI::App& app,
                     const std::string& value) {
  if (app.count(option) == 0) return {};
  if (value.empty() || value.starts_with("--") || is_assignment(value)) {
    return usage(fmt::format("{} needs a {}; behind it stands '{}'", option, what, said(value)));
  }
  return {};
}

Result<> assign(Parameters& parameters, const std::vector<std::string>& words,
                std::vector<std::string>& others) {
  std::set<std::string> given;
  for (const std::string& word : words) {
    if (!is_assignment(word)) {
      others.push_back(word);
      continue;
    }
    const std::size_t at = word.find(":=");
    const std::string name = word.substr(0, at);
    if (!given.insert(name).second) return usage(fmt::format("{} is given twice", name));
    FOVEA_TRY(parameters.set.set(name, word.substr(at + 2), said(word, 80)));
  }
  if (given.contains("model")) return {};
  if (others.empty()) {
    return usage("which model? fovea predict MODEL PICTURES... (see fovea predict --help)");
  }
  FOVEA_TRY(parameters.set.set("model", others.front(), "MODEL"));
  others.erase(others.begin());
  return {};
}

}  // namespace

Result<Command> parse_command(const std::vector<std::string>& words) {
  Command command;
  Parameters parameters;
  CLI::App app;
  app.allow_extras();  // refused below, with the nearest option
  app.set_help_flag();
  std::vector<std::string> positionals;
  bool help = false;
  bool version = false;
  app.add_option("words", positionals);
  app.add_option("--json", command.json);
  app.add_option("--save", command.save);
  app.add_flag("--version", version);
  app.add_flag("--help,-h", help);
  try {
    std::vector<std::string> reversed(words.rbegin(), words.rend());  // as CLI11 takes a vector
    app.parse(std::move(reversed));
  } catch (const CLI::ParseError& error) {
    return usage(one_line(error.what()));
  }
  if (help) command.help = help_text(parameters.set);
  if (version) command.help = "fovea predict " FOVEA_VERSION "\n";
  if (!command.help.empty()) return command;
  FOVEA_TRY(check_known(app));
  FOVEA_TRY(check_value("--json", "FILE", app, command.json));
  FOVEA_TRY(check_value("--save", "FOLDER", app, command.save));
  if (imaging::is_picture_name(command.json) || imaging::is_video_name(command.json)) {
    return usage(
        fmt::format("--json: {} is a picture's or video's name; results go to a file of "
                    "another, or with '-' to stdout",
                    said(command.json)));
  }
  FOVEA_TRY(assign(parameters, positionals, command.pictures));
  if (command.pictures.empty()) {
    return usage("which pictures? Name files, folders of pictures or videos behind the model");
  }
  FOVEA_TRY(parameters.set.check());
  FOVEA_TRY(parameters.set.check_files());
  FOVEA_TRY(check_engine_parameters(parameters.engine));
  command.predictor = {parameters.engine, parameters.postprocess.options()};
  return command;
}

}  // namespace fovea::predict
