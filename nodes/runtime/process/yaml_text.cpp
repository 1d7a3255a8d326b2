#include "nodes/runtime/process/yaml_text.hpp"

#include <algorithm>
#include <sstream>

#include <fmt/core.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include "nodes/base/text.hpp"

namespace fovea {
namespace {

// Notes where the contents of documents begin and ignores the rest.
class DocumentStarts : public YAML::EventHandler {
 public:
  const std::vector<int>& lines() const { return lines_; }

  void OnDocumentStart(const YAML::Mark& mark) override {
    // A parser that stays where it is will never end.
    if (mark.pos <= last_) throw YAML::ParserException(mark, "unexpected character");
    last_ = mark.pos;
    is_empty_ = true;
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { note(mark); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { note(mark); }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                const std::string&) override {
    note(mark);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    note(mark);
  }
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    note(mark);
  }
  void OnMapEnd() override {}

 private:
  void note(const YAML::Mark& mark) {
    if (is_empty_) lines_.push_back(mark.line + 1);
    is_empty_ = false;
  }

  int last_ = -1;
  bool is_empty_ = false;
  std::vector<int> lines_;
};

}  // namespace

std::vector<int> yaml_document_lines(const std::string& text) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  DocumentStarts starts;
  while (parser.HandleNextDocument(starts)) {
  }
  return starts.lines();
}

std::string yaml_error(std::string_view text, std::string_view file, int line,
                       std::string_view message) {
  int number = 1;
  // The parser often stumbles a line or more after the tab.
  for (std::string_view rest = text; !rest.empty() && (line <= 0 || number <= line); ++number) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view whole = rest.substr(0, end);
    const std::size_t content = std::min(whole.find_first_not_of(" \t"), whole.size());
    if (content < whole.size() && whole.substr(0, content).find('\t') != std::string_view::npos) {
      return fmt::format("{}:{}: line {} is indented with a tab; YAML takes blanks", said(file),
                         number, number);
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  const std::string place = line > 0 ? fmt::format("{}:{}", said(file), line) : said(file);
  return fmt::format("{}: bad YAML: {}", place, said(message));
}

}  // namespace fovea
