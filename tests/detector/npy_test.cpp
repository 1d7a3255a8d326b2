// .npy files there and back, as NumPy writes them, and everything else refused by name.
#include "nodes/detector/tool/npy.hpp"

#include <cmath>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fovea {
namespace {

using namespace std::string_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// What numpy.save writes for a header and its numbers.
std::vector<std::byte> file_of(std::string header, const std::string& numbers, char version = 1) {
  const std::size_t front = version == 1 ? 10 : 12;
  while ((front + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  std::string text = "\x93NUMPY"s + version + '\0';
  const std::size_t size = header.size();
  for (std::size_t i = 0; i < front - 8; ++i) text += static_cast<char>(size >> (8 * i) & 0xFF);
  text += header + numbers;
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

TEST(Npy, GoesThereAndBack) {
  for (const std::vector<std::int64_t>& dims :
       {std::vector<std::int64_t>{}, {1}, {6}, {2, 3}, {1, 3, 2, 1}, {0, 4}}) {
    std::size_t size = 1;
    for (const std::int64_t extent : dims) size *= static_cast<std::size_t>(extent);
    std::vector<float> values(size);
    for (std::size_t i = 0; i < size; ++i) values[i] = 0.5F - static_cast<float>(i);
    const auto bytes = serialize(npy_of(values, dims));
    const auto array = parse_npy(bytes);
    ASSERT_TRUE(array) << array.error().message;
    EXPECT_EQ(array->dims, dims);
    EXPECT_EQ(as_floats(*array), values);
    EXPECT_EQ((bytes.size() - array->bytes.size()) % 64, 0U);
  }
  const auto two = serialize(npy_of(std::vector<float>(6), {2, 3}));
  const std::string text(reinterpret_cast<const char*>(two.data()), 80);
  EXPECT_EQ(text.substr(10, 59), "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
  const auto one = serialize(npy_of(std::vector<float>(6), {6}));
  EXPECT_NE(std::string(reinterpret_cast<const char*>(one.data()), 80).find("(6,)"),
            std::string::npos);
}

TEST(Npy, ReadsTheTypesAndVersionsThatNumpyWrites) {
  const auto floats = [](const std::string& descr, const std::string& numbers, char version = 1) {
    const auto array = parse_npy(file_of(
        "{'descr': '" + descr + "', 'fortran_order': False, 'shape': (2,), }", numbers, version));
    EXPECT_TRUE(array) << (array ? "" : array.error().message);
    return array ? as_floats(*array) : std::vector<float>();
  };
  EXPECT_THAT(floats("|u1", "\x01\xff"), ElementsAre(1, 255));
  EXPECT_THAT(floats("|i1", "\x01\xff"), ElementsAre(1, -1));
  EXPECT_THAT(floats("|b1", "\x01\0"s), ElementsAre(1, 0));
  EXPECT_THAT(floats("<u2", "\x01\x01\xff\xff"), ElementsAre(257, 65535));
  EXPECT_THAT(floats("<i4", "\xfe\xff\xff\xff\x02\0\0\0"s), ElementsAre(-2, 2));
  EXPECT_THAT(floats("<i8", "\xfe\xff\xff\xff\xff\xff\xff\xff\2\0\0\0\0\0\0\0"s),
              ElementsAre(-2, 2));
  EXPECT_THAT(floats("<f2", "\0\x3c\0\xc0"s), ElementsAre(1, -2));
  EXPECT_THAT(floats("<f2", "\1\0\xff\x7b"s), ElementsAre(std::ldexp(1.0F, -24), 65504));
  EXPECT_THAT(floats("<f4", "\0\0\x80\x3f\0\0\0\xc0"s, 2), ElementsAre(1, -2));
  EXPECT_THAT(floats("<f8", "\0\0\0\0\0\0\xf0\x3f\0\0\0\0\0\0\0\xc0"s, 3), ElementsAre(1, -2));
}

TEST(Npy, RefusesWhatItIsNotByName) {
  const auto refusal = [](const std::vector<std::byte>& bytes) {
    const auto array = parse_npy(bytes);
    EXPECT_FALSE(array);
    return array ? "" : array.error().message;
  };
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }";
  EXPECT_THAT(refusal({}), HasSubstr("does not begin"));
  EXPECT_THAT(refusal(file_of(good, "\0\0\0"s)), HasSubstr("3 bytes of numbers; <f4 [1] takes 4"));
  EXPECT_THAT(refusal(file_of(good, "\0\0\0\0"s, 9)), HasSubstr("version 9"));
  EXPECT_THAT(refusal(file_of("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", "")),
              HasSubstr("numbers of type '>f4"));
  EXPECT_THAT(refusal(file_of("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "")),
              HasSubstr("numbers of type '|O'"));
  EXPECT_THAT(refusal(file_of("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", "")),
              HasSubstr("Fortran order"));
  EXPECT_THAT(refusal(file_of("{'descr': '<f4', 'shape': (1,), }", "")), HasSubstr("header"));
  EXPECT_THAT(refusal(file_of("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "")),
              HasSubstr("header"));
  EXPECT_THAT(refusal(file_of("{'descr': '<f4', 'fortran_order': False, "
                              "'shape': (99999, 99999, 99999), }",
                              "")),
              HasSubstr("header"));
  auto whole = file_of(good, "\0\0\0\0"s);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(parse_npy(std::span(whole).first(size))) << size;
  }
}

}  // namespace
}  // namespace fovea
