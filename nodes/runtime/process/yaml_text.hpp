// A check that YAML needs before yaml-cpp loads all of it: YAML::LoadAll() never returns for a text
// with a stray `,`, `]` or `}` between documents, and takes memory for as long as it does not.
//
// Thread safety: pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fovea {

// The line, from 1, on which the content of each document of `text` begins. Throws YAML::Exception,
// as loading does: call it inside the same try block.
std::vector<int> yaml_document_lines(const std::string& text);

// Why `text` is no YAML, as `file:line: ...`, from yaml-cpp's words and its line (from 1; 0 =
// unknown). A tab that indents gets a sentence of its own: yaml-cpp's do not name it.
std::string yaml_error(std::string_view text, std::string_view file, int line,
                       std::string_view message);

}  // namespace fovea
