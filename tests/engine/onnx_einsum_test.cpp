// Einsum becomes Transpose, Unsqueeze, MatMul: the same numbers as a sum over all letters, and what
// is no product of two matrices is refused by what it has.
#include "nodes/detector/engine/onnx/einsum.hpp"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/detector/engine/onnx/parser.hpp"
#include "tests/engine/graph_maker.hpp"
#include "tests/engine/onnx_writer.hpp"

namespace fovea::engine::test {
namespace {

using ::testing::HasSubstr;

const std::map<char, std::int64_t> kExtents = {{'b', 2}, {'c', 3}, {'h', 4}, {'w', 5},
                                               {'k', 6}, {'m', 2}, {'n', 3}};

Dims dims_of(const std::string& labels) {
  Dims dims;
  for (const char label : labels) dims.push_back(kExtents.at(label));
  return dims;
}

// Of the equation's letters at `place`.
std::int64_t offset(const std::string& labels, const std::map<char, std::int64_t>& place) {
  std::int64_t result = 0;
  for (const char label : labels) result = result * kExtents.at(label) + place.at(label);
  return result;
}

// The definition: one loop over every letter.
Tensor by_definition(const std::string& a, const Tensor& x, const std::string& b, const Tensor& y,
                     const std::string& result) {
  Tensor sum = Tensor::make(DataType::kFloat32, dims_of(result));
  std::fill_n(sum.data<float>(), sum.size(), 0.0F);
  std::map<char, std::int64_t> place;
  for (const char label : a + b) place[label] = 0;
  while (true) {
    sum.data<float>()[offset(result, place)] +=
        x.data<float>()[offset(a, place)] * y.data<float>()[offset(b, place)];
    auto at = place.begin();
    while (at != place.end() && ++at->second == kExtents.at(at->first)) (at++)->second = 0;
    if (at == place.end()) return sum;
  }
}

OnnxWriter model_of(const std::string& equation, const Dims& x, const Dims& y) {
  OnnxWriter w;
  w.input("x", x).input("y", y).output("z");
  w.node("Einsum", {"x", "y"}, {"z"}, {{"equation", equation}}, "e");
  return w;
}

struct Equation {
  const char* name;
  const char* a;
  const char* b;
  const char* result;
};

std::ostream& operator<<(std::ostream& stream, const Equation& e) { return stream << e.name; }

class EinsumOf : public ::testing::TestWithParam<Equation> {};

TEST_P(EinsumOf, GivesTheSumOverAllLetters) {
  const Equation& e = GetParam();
  const std::string equation = std::string(e.a) + "," + e.b + "->" + e.result;
  const auto network = parse_onnx(model_of(equation, dims_of(e.a), dims_of(e.b)).bytes(), {});
  ASSERT_TRUE(network) << network.error().message;
  const Tensor x = noise(dims_of(e.a), 1);
  const Tensor y = noise(dims_of(e.b), 2);
  const auto got = reference::evaluate(*network, {{"x", x}, {"y", y}});
  ASSERT_TRUE(got) << got.error().message;
  const Tensor& z = got->at("z");
  const Tensor want = by_definition(e.a, x, e.b, y, e.result);
  ASSERT_EQ(z.dims, want.dims);
  for (std::int64_t i = 0; i < z.size(); ++i)
    ASSERT_NEAR(z.data<float>()[i], want.data<float>()[i], 1e-5F) << "at " << i;
}

INSTANTIATE_TEST_SUITE_P(Equations, EinsumOf,
                         ::testing::Values(Equation{"YoloWorldHead", "bchw", "bkc", "bkhw"},
                                           Equation{"YoloWorldAttention", "bmchw", "bnmc", "bmhwn"},
                                           Equation{"Swapped", "bkc", "bchw", "bkhw"},
                                           Equation{"Matrices", "hc", "cw", "hw"},
                                           Equation{"MatricesTransposed", "ch", "wc", "wh"},
                                           Equation{"MatrixAndVector", "hc", "c", "h"},
                                           Equation{"VectorAndMatrix", "c", "hc", "h"},
                                           Equation{"MapAndVectors", "bchw", "bc", "bhw"},
                                           Equation{"BatchAloneIsLeft", "bc", "cb", "b"},
                                           Equation{"Dot", "c", "c", ""}),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(Einsum, SpacesMeanNothing) { EXPECT_TRUE(parse_einsum(" b c h w , b k c -> b k h w ")); }

TEST(Einsum, WhatIsNoProductOfTwoMatricesIsRefusedWithTheReason) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "it must be like ab,bc->ac"},
      {"bc->cb", "it must be like ab,bc->ac"},
      {"bc,ck", "it must be like ab,bc->ac"},
      {"bc->cb,", "it must be like ab,bc->ac"},
      {"...c,ck->...k", "must have different letters"},
      {"ii,ik->k", "must have different letters"},
      {"bc,ck,kn->bn", "must have different letters"},
      {"bc,ck->bb", "must have different letters"},
      {"abcdefghi,i->a", "must have different letters, 8 at most"},
      {"bc,ck->bkx", "the result has a letter that no operand has"},
      {"bcw,ck->bk", "it sums over 'w' of one operand alone"},
      {"bc,ckw->bk", "it sums over 'w' of one operand alone"},
      {"bcd,cdk->bk", "it sums over 2 axes; that must be 1 at most"},
      {"abc,cde->abde", "both operands have several axes of their own"}};
  for (const auto& [equation, reason] : cases) {
    const auto einsum = parse_einsum(equation);
    ASSERT_FALSE(einsum) << equation;
    EXPECT_THAT(einsum.error().message, HasSubstr(std::string("equation is '") + equation + "'; "));
    EXPECT_THAT(einsum.error().message, HasSubstr(reason));
  }
  const auto model = parse_onnx(model_of("bcd,cdk->bk", {1, 2, 3}, {2, 3, 4}).bytes(), {});
  ASSERT_FALSE(model);
  EXPECT_THAT(model.error().message,
              HasSubstr("Einsum ('e'): equation is 'bcd,cdk->bk'; it sums over 2 axes"));
}

TEST(Einsum, OperandsOfAnotherRankOrExtentAreRefused) {
  for (const auto& [x, y] : {std::pair<Dims, Dims>{{2, 3, 4}, {2, 6, 3}},
                             {{2, 3, 4, 5, 1}, {2, 6, 3}},
                             {{2, 3, 4, 5}, {6, 3}},
                             {{2, 3, 4, 5}, {2, 6, 4}}}) {
    const auto network = parse_onnx(model_of("bchw,bkc->bkhw", x, y).bytes(), {});
    ASSERT_TRUE(network) << network.error().message;
    EXPECT_FALSE(reference::evaluate(*network, {{"x", noise(x, 1)}, {"y", noise(y, 2)}}));
  }
}

}  // namespace
}  // namespace fovea::engine::test
