// A check that YAML needs before yaml-cpp loads all of it: YAML::LoadAll() never returns for a text
// with a stray `,`, `]` or `}` between documents, and takes memory for as long as it does not.
//
// Thread safety: pure.
#pragma once

#include <string>
#include <vector>

namespace fovea {

// The line, from 1, on which the content of each document of `text` begins. Throws YAML::Exception,
// as loading does: call it inside the same try block.
std::vector<int> yaml_document_lines(const std::string& text);

}  // namespace fovea
