// See yaml_text.hpp.
#include "nodes/runtime/yaml_text.hpp"

#include <sstream>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

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

}  // namespace fovea
