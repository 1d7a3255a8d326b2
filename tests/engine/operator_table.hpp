// One table of operators with numbers worked out by hand, for the reference and whatever must agree
// with it.
#pragma once

#include <ostream>

#include "tests/engine/graph_maker.hpp"

namespace fovea::engine::test {

using Ints = std::vector<std::int64_t>;

struct OpCase {
  const char* name;
  OpType op;
  std::vector<Tensor>
      inputs;  // i64 ones become constants; an empty f32 [0] stands for an absent one
  std::map<std::string, Attribute> attributes;
  std::vector<Tensor> expected;
};

inline std::ostream& operator<<(std::ostream& stream, const OpCase& c) { return stream << c.name; }

inline const Tensor kAbsent = floats({0}, {});

// At least one case per OpType.
std::vector<OpCase> op_cases();

// A network of this one layer, and what its inputs are.
struct SingleLayer {
  NetworkDefinition network;
  TensorMap inputs;
};
SingleLayer make_network(const OpCase& c);

// Runs it with the reference operators.
Result<std::vector<Tensor>> run(const OpCase& c);

}  // namespace fovea::engine::test
