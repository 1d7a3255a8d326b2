#include "nodes/predict/result_table.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nodes/base/text.hpp"
#include "nodes/predict/object_columns.hpp"

namespace fovea::predict {

namespace {

constexpr std::size_t kLeastColumn = 8;
constexpr std::size_t kMostFile = 40;
constexpr std::size_t kMostClass = 24;
constexpr std::size_t kFrameDigits = 6;  // " #12345"
constexpr std::size_t kMostClassesShown = 12;

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// Characters, as far as a terminal gives each one place.
std::size_t places(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return !continues(c); }));
}

// The last `most` characters, with dots before them if there are more: names differ at their end.
std::string end_of(const std::string& text, std::size_t most) {
  std::size_t drop = places(text);
  if (drop <= most) return text;
  drop -= most - 3;
  std::size_t at = 0;
  while (at < text.size() && (drop > 0 || continues(text[at])))
    drop -= continues(text[at++]) ? 0 : 1;
  return "..." + text.substr(at);
}

std::string begin_of(const std::string& text, std::size_t most) {
  if (places(text) <= most) return text;
  std::size_t keep = most - 3;
  std::size_t at = 0;
  while (at < text.size() && (keep > 0 || continues(text[at])))
    keep -= continues(text[at++]) ? 0 : 1;
  return text.substr(0, at) + "...";
}

std::string padded(std::string text, std::size_t width) {
  const std::size_t used = places(text);
  if (used < width) text.append(width - used, ' ');
  return text;
}

}  // namespace

ResultTable::ResultTable(std::span<const Input> inputs, std::span<const std::string> class_names,
                         Task task)
    : task_(task), file_width_(kLeastColumn), class_width_(kLeastColumn) {
  for (const Input& input : inputs) {
    const std::size_t frame = input.is_video ? kFrameDigits + 2 : 0;
    file_width_ = std::max(file_width_, std::min(places(one_line(input.path)), kMostFile) + frame);
  }
  for (const std::string& name : class_names) {
    class_width_ = std::max(class_width_, std::min(places(one_line(name)), kMostClass));
  }
}

std::string ResultTable::head() const {
  if (task_ == Task::kDepth) {
    return padded("picture", file_width_) + "   nearest    median  farthest  (m)\n";
  }
  return fmt::format("{}  {}  {}{}\n", padded("picture", file_width_),
                     padded("class", class_width_), task_ == Task::kSemantic ? "share" : "score",
                     object_head(task_));
}

std::string ResultTable::row(std::string file, const std::string& class_name, float score,
                             const std::string& more) const {
  return fmt::format("{}  {}  {:5.2f}{}\n", padded(std::move(file), file_width_),
                     padded(begin_of(one_line(class_name), kMostClass), class_width_), score, more);
}

std::string ResultTable::rows(const Prediction& prediction) const {
  std::string name = end_of(one_line(prediction.file), kMostFile);
  if (prediction.frame) name += fmt::format(" #{}", *prediction.frame);
  const DepthMap& depth = prediction.depth;
  if (depth.farthest > 0) {
    return fmt::format("{}  {:8.2f}  {:8.2f}  {:8.2f}\n", padded(name, file_width_), depth.nearest,
                       depth.median, depth.farthest);
  }
  std::string text;
  for (const ClassScore& one : prediction.classes) {
    text += row(std::exchange(name, {}), one.class_name, one.score, "");
  }
  for (const Object& object : prediction.objects) {
    text += row(std::exchange(name, {}), object.class_name, object.score,
                object_columns(object, task_));
  }
  return text.empty() ? padded(name, file_width_) + "  -\n" : text;
}

std::string summary_text(const Summary& summary, const ClassCounts& counts, double seconds) {
  std::vector<std::pair<std::string, std::size_t>> classes(counts.begin(), counts.end());
  std::stable_sort(classes.begin(), classes.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  std::vector<std::string> shown_classes;
  for (const auto& [name, count] : classes) {
    if (shown_classes.size() == kMostClassesShown) {
      shown_classes.push_back(fmt::format("{} more classes", classes.size() - kMostClassesShown));
      break;
    }
    shown_classes.push_back(fmt::format("{} {}", begin_of(one_line(name), kMostClass), count));
  }
  const auto plural = [](std::size_t count, const char* word) {
    return fmt::format("{} {}{}", count, word, count == 1 ? "" : "s");
  };
  const StageTimes& mean = summary.mean;
  const std::string set =
      summary.instruction_set.empty() ? "" : fmt::format(", {}", summary.instruction_set);
  // A picture without objects is of its best class, or of the one that covers most of it.
  const std::string objects =
      !finds_objects(summary.task) ? "" : fmt::format(", {}", plural(summary.objects, "object"));
  std::string text = fmt::format(
      "{}{}{} in {:.1f} s{}{}\n", plural(summary.pictures, "picture"), objects,
      shown_classes.empty() ? "" : fmt::format(" ({})", fmt::join(shown_classes, ", ")), seconds,
      summary.failures.empty() ? ""
                               : fmt::format(", {} could not be read", summary.failures.size()),
      summary.interrupted ? ", interrupted" : "");
  if (summary.pictures > 0) {
    text += fmt::format(
        "{:.1f} ms a picture: preprocess {:.1f}, inference {:.1f}, postprocess {:.1f}; {}/{}{}, "
        "{}\n",
        mean.preprocess + mean.inference + mean.postprocess, mean.preprocess, mean.inference,
        mean.postprocess, summary.provider, summary.precision, set,
        plural(static_cast<std::size_t>(summary.threads), "thread"));
  }
  return text;
}

}  // namespace fovea::predict
