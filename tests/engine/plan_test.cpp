// Plans survive the round trip; nothing else does: every flipped byte, every truncation and every
// forged graph must end as an Error.
#include "nodes/detector/engine/plan/plan.hpp"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>
#include <utility>

#include <gtest/gtest.h>

#include "nodes/base/file_io.hpp"
#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/cpu/cpu_engine.hpp"
#include "nodes/detector/engine/plan/archive.hpp"
#include "nodes/detector/engine/plan/crc32c.hpp"
#include "nodes/detector/engine/plan/model_hash.hpp"
#include "nodes/detector/engine/plan/sha256.hpp"
#include "nodes/detector/engine/quantization/calibrator.hpp"
#include "tests/engine/run_engine.hpp"
#include "tests/engine/small_network.hpp"

namespace fovea::engine {
namespace {

constexpr std::size_t kTable = 64;  // offset of the section table
constexpr std::size_t kEntryBytes = 64;
constexpr std::size_t kSections = 4;
constexpr std::size_t kPreamble = kTable + kSections * kEntryBytes;

Plan small_plan() {
  test::SmallNetwork n(16, 16);
  const ValueId x = n.stem(16);
  Plan plan;
  plan.max_batch = 4;
  plan.threads = 2;
  plan.model_hash = std::string(64, 'a');
  plan.tactics = {{"Conv_1", "avx512/1x16/weights"}, {"Conv_2", "of another age"}};
  plan.network = n.finish({n.c2f(x, 16, 16), n.max_pool(x, 5)});
  plan.network.class_names = {"person", "b\xC3\xA4r", "not \xFF UTF-8"};
  plan.network.metadata = {{"stride", "32"}};
  plan.network.head.warnings = {"a warning"};
  return plan;
}

// With packed weights and with plain ones: the last convolution stays f32.
Plan small_int8_plan() {
  Plan plan = small_plan();
  plan.precision = Precision::kInt8;
  NetworkDefinition& network = plan.network;
  const auto source = [](std::size_t index, std::span<std::byte> to) -> Result<> {
    std::mt19937 random(static_cast<unsigned>(index));
    for (std::byte& byte : to) byte = static_cast<std::byte>(random() & 0xFF);
    return {};
  };
  EXPECT_TRUE(infer_shapes(network, 1));
  const auto table = calibrate(network, kLeastCalibrationPictures, source, {});
  EXPECT_TRUE(table);
  const auto layers = quantizable_layers(network);
  EXPECT_TRUE(layers);
  EXPECT_TRUE(quantize(network, *table, {.lifted = {layers->back().name}}));
  return plan;
}

// For 16 to 32 rows and columns.
Plan small_open_plan() {
  Plan plan = small_int8_plan();
  NetworkDefinition& network = plan.network;
  network.value(network.inputs[0]).dims = {-1, -1, -1, 3};
  network.profile = {"images", {1, 3, 16, 16}, {1, 3, 16, 16}, {4, 3, 32, 32}};
  return plan;
}

std::vector<float> first_output(const Plan& plan) {
  const auto engine = load_engine(plan);
  EXPECT_TRUE(engine) << engine.error().message;
  return test::run_engine(**engine, {test::SmallNetwork::picture(16, 16, 3)})[0][0];
}

ErrorCode code_of(std::span<const std::byte> bytes) {
  const auto plan = deserialize(bytes);
  return plan ? ErrorCode::kInternal : plan.error().code;
}

// Puts new checksums over whatever was changed, as a forger would.
void seal(std::vector<std::byte>& bytes) {
  for (std::size_t i = 0; i < kSections; ++i) {
    std::byte* entry = bytes.data() + kTable + i * kEntryBytes;
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
    std::memcpy(&offset, entry + 16, 8);
    std::memcpy(&size, entry + 24, 8);
    if (offset > bytes.size() || size > bytes.size() - offset) continue;
    const std::uint32_t crc = crc32c(std::span(bytes).subspan(offset, size));
    std::memcpy(entry + 32, &crc, 4);
  }
  std::memset(bytes.data() + 24, 0, 4);
  const std::uint32_t crc = crc32c(std::span(bytes).first(kPreamble));
  std::memcpy(bytes.data() + 24, &crc, 4);
}

// What a loader would do next: compile and run once. The result does not matter, only that it stays
// in bounds.
void run_if_it_loads(const Plan& plan) {
  const auto engine = load_engine(plan);
  if (!engine) return;
  const EngineInfo& info = (*engine)->info();
  constexpr std::size_t kEnough = std::size_t{16}
                                  << 20;  // a forged size may be large and still be valid
  std::size_t bytes = info.input.bytes;
  for (const TensorSpec& output : info.outputs) bytes += output.bytes;
  if (bytes > kEnough) return;
  const auto context = (*engine)->create_execution_context();
  if (!context) return;
  std::vector<std::byte> memory(bytes + 64 * (info.outputs.size() + 2));
  std::byte* next = memory.data();
  const auto take = [&](std::size_t size) {
    next += (64 - reinterpret_cast<std::uintptr_t>(next) % 64) % 64;
    return std::exchange(next, next + size);
  };
  BatchItem item{{take(info.input.bytes), info.input.bytes}, {}};
  std::vector<MemoryView> outputs;
  for (const TensorSpec& output : info.outputs) {
    outputs.push_back({take(output.bytes), output.bytes});
  }
  item.outputs = outputs;
  (void)(*context)->execute({&item, 1});
}

TEST(Crc32c, KnownValues) {
  EXPECT_EQ(crc32c({}), 0U);
  EXPECT_EQ(crc32c(std::as_bytes(std::span("123456789", 9))), 0xE3069283U);
  const std::vector<std::byte> zeros(32);
  EXPECT_EQ(crc32c(zeros), 0x8A9136AAU);
  EXPECT_EQ(crc32c(std::span(zeros).subspan(5), crc32c(std::span(zeros).first(5))), 0x8A9136AAU);
}

TEST(Sha256, KnownValue) {
  Sha256 hash;
  hash.add(std::string_view("a"));
  hash.add(std::string_view("bc"));
  EXPECT_EQ(hash.finish(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Plan, RoundTripIsByteIdentical) {
  const Plan plan = small_plan();
  const auto bytes = serialize(plan);
  const auto loaded = deserialize(bytes);
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded->provider, plan.provider);
  EXPECT_EQ(loaded->max_batch, 4);
  EXPECT_EQ(loaded->threads, 2);
  EXPECT_EQ(loaded->model_hash, plan.model_hash);
  EXPECT_EQ(loaded->network.class_names, plan.network.class_names);
  EXPECT_EQ(loaded->network.metadata, plan.network.metadata);
  EXPECT_EQ(loaded->network.head.name, "dfl");
  EXPECT_EQ(loaded->network.head.spec, plan.network.head.spec);
  EXPECT_EQ(loaded->network.head.spec.maps.size(), 2U);
  EXPECT_EQ(loaded->network.head.warnings, plan.network.head.warnings);
  ASSERT_EQ(loaded->network.layers.size(), plan.network.layers.size());
  for (std::size_t i = 0; i < plan.network.layers.size(); ++i) {
    EXPECT_EQ(loaded->network.layers[i].attributes, plan.network.layers[i].attributes);
    EXPECT_EQ(loaded->network.layers[i].residual, plan.network.layers[i].residual);
  }
  EXPECT_EQ(serialize(*loaded), bytes);
  EXPECT_EQ(serialize(plan), bytes);
}

// Decoders and engines rely on what a head says, and checksums keep no malice out.
TEST(Plan, HeadsThatCannotBeAreRefused) {
  using Change = void (*)(HeadInfo&);
  const struct {
    Change change;
    const char* why;
  } cases[] = {
      {[](HeadInfo& h) { h.spec.maps[1].role = static_cast<OutputRole>(99); }, "role is 99"},
      {[](HeadInfo& h) { h.spec.maps[1].encoding = static_cast<OutputEncoding>(99); },
       "encoding is 99"},
      {[](HeadInfo& h) { h.spec.maps[1].anchors = static_cast<AnchorAxis>(99); }, "anchors is 99"},
      {[](HeadInfo& h) { h.spec.maps[1].channels = 0; }, "0 channels"},
      {[](HeadInfo& h) { h.spec.maps[1].first_channel = 0xffffffff; }, "channels from 4294967295"},
      {[](HeadInfo& h) { h.spec.maps[1].stride = 0xffffffff; }, "stride is"},
      {[](HeadInfo& h) { h.spec.maps[1].bins = 4; }, "bins is 4 without a distribution"},
      {[](HeadInfo& h) { h.spec.maps[1] = h.spec.maps[0]; }, "overlap"},
      {[](HeadInfo& h) { h.spec.maps[1].tensor = std::string_view("cls9"); },
       "'cls9', which is no"},
      {[](HeadInfo& h) { h.basis = static_cast<HeadBasis>(99); }, "unknown basis"},
  };
  for (const auto& c : cases) {
    Plan plan = small_plan();
    c.change(plan.network.head);
    const auto loaded = deserialize(serialize(plan));
    ASSERT_FALSE(loaded) << c.why;
    EXPECT_EQ(loaded.error().code, ErrorCode::kCorrupt);
    EXPECT_NE(loaded.error().message.find(c.why), std::string::npos) << loaded.error().message;
  }
  // More maps than there is room for: the number stands in front of the first one's name.
  const auto good = serialize(small_plan());
  const std::string_view file(reinterpret_cast<const char*>(good.data()), good.size());
  const std::string_view front("dfl\2\0\0\0\7\0\0\0\0\0\0\0output0", 22);
  const std::size_t at = file.find(front);
  ASSERT_NE(at, std::string_view::npos);
  for (const std::uint32_t count : {33U, 0xffffffffU}) {
    auto forged = good;
    std::memcpy(forged.data() + at + 3, &count, sizeof count);
    seal(forged);
    EXPECT_EQ(code_of(forged), ErrorCode::kCorrupt);
  }
}

TEST(Plan, SharedConstantsAreStoredOnceAndStayShared) {
  Plan plan = small_plan();
  const auto before = serialize(plan).size();
  const auto big =
      std::make_shared<const Constant>(Constant::floats({1024}, std::vector<float>(1024, 1.0F)));
  plan.network.add_constant("one", big);
  plan.network.add_constant("two", big);
  const auto bytes = serialize(plan);
  EXPECT_GE(bytes.size(), before + 4096);
  EXPECT_LT(bytes.size(), before + 2 * 4096);
  const auto loaded = deserialize(bytes);
  ASSERT_TRUE(loaded);
  const auto& values = loaded->network.values;
  EXPECT_EQ(values[values.size() - 1].constant, values[values.size() - 2].constant);
}

TEST(Plan, Int8WeightsAreStoredAsTheyRun) {
  const Plan plan = small_int8_plan();
  const auto bytes = std::make_shared<const std::vector<std::byte>>(serialize(plan));
  EXPECT_EQ(serialize(plan), *bytes);
  const auto loaded = deserialize(bytes);
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(serialize(*loaded), *bytes);
  EXPECT_EQ(first_output(*loaded), first_output(plan));
  std::size_t packed = 0;
  std::size_t plain = 0;
  for (const Layer& layer : loaded->network.layers) {
    if (layer.op != OpType::kConv) continue;
    const Constant& weights = *loaded->network.value(layer.inputs[1]).constant;
    ++(weights.packed() ? packed : plain);
    EXPECT_EQ(weights.bytes.size(), static_cast<std::size_t>(weights.size()) *
                                        (weights.packed() ? sizeof(std::int8_t) : sizeof(float)));
    // No copy: they lie in the file's bytes.
    const std::byte* data = weights.bytes.data();
    EXPECT_TRUE(data >= bytes->data() && data < bytes->data() + bytes->size());
  }
  EXPECT_EQ(packed, 3U);
  EXPECT_EQ(plain, 2U);  // the lifted one, and the one that reads an output
}

// The same plan on a machine without 8-bit kernels.
TEST(Plan, Int8WeightsRunInF32Elsewhere) {
  const Plan plan = small_int8_plan();
  const std::vector<float> int8 = first_output(plan);
  NetworkDefinition network = plan.network;
  unpack_weights(network);
  network.quantization = {};
  auto info = describe_engine(network, "onednn", {});
  ASSERT_TRUE(info);
  const auto engine = load_onednn_engine(network, *info);
  ASSERT_TRUE(engine) << engine.error().message;
  const std::vector<float> f32 =
      test::run_engine(**engine, {test::SmallNetwork::picture(16, 16, 3)})[0][0];
  ASSERT_EQ(f32.size(), int8.size());
  double ab = 0;
  double aa = 0;
  double bb = 0;
  for (std::size_t i = 0; i < f32.size(); ++i) {
    ab += static_cast<double>(f32[i]) * static_cast<double>(int8[i]);
    aa += static_cast<double>(f32[i]) * static_cast<double>(f32[i]);
    bb += static_cast<double>(int8[i]) * static_cast<double>(int8[i]);
  }
  EXPECT_GT(ab / std::sqrt(aa * bb), 0.99);
}

class EitherPlan : public ::testing::TestWithParam<Plan (*)()> {};
constexpr const char* kPlanNames[] = {"fp32", "int8", "open"};
INSTANTIATE_TEST_SUITE_P(Plan, EitherPlan,
                         ::testing::Values(small_plan, small_int8_plan, small_open_plan),
                         [](const auto& test) { return kPlanNames[test.index]; });

TEST_P(EitherPlan, EveryFlippedByteIsRefused) {
  const auto bytes = serialize(GetParam()());
  auto damaged = bytes;
  // Every byte of header, manifest and graph; of the weights one in 97.
  std::uint64_t weights = 0;
  std::memcpy(&weights, bytes.data() + kTable + 2 * kEntryBytes + 16, 8);
  for (std::size_t i = 0; i < bytes.size(); i += i < weights ? 1 : 97) {
    damaged[i] ^= std::byte{1} << (i % 8);
    const auto code = code_of(damaged);
    EXPECT_TRUE(code == ErrorCode::kCorrupt || code == ErrorCode::kUnsupported) << "byte " << i;
    damaged[i] = bytes[i];
  }
  EXPECT_TRUE(deserialize(damaged));
}

TEST_P(EitherPlan, EveryTruncationIsRefused) {
  const auto bytes = serialize(GetParam()());
  for (std::size_t size = 0; size < bytes.size(); size += size < 4096 ? 1 : 61) {
    EXPECT_EQ(code_of(std::span(bytes).first(size)), ErrorCode::kCorrupt) << size;
  }
  auto longer = bytes;
  longer.push_back(std::byte{0});
  EXPECT_EQ(code_of(longer), ErrorCode::kCorrupt);
}

TEST(Plan, OtherVersionSaysWhich) {
  auto bytes = serialize(small_plan());
  const std::uint32_t version = kPlanVersion + 1;
  std::memcpy(bytes.data() + 8, &version, 4);
  seal(bytes);
  const auto plan = deserialize(bytes);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(plan.error().message.find("version is " + std::to_string(version)), std::string::npos)
      << plan.error().message;
}

TEST(Plan, FileOfAnotherKindSaysSo) {
  const std::vector<std::byte> bytes(1000, std::byte{'x'});
  const auto plan = deserialize(bytes);
  ASSERT_FALSE(plan);
  EXPECT_NE(plan.error().message.find("not a plan"), std::string::npos) << plan.error().message;
}

// Checksums keep accidents out, not malice: with valid checksums over random damage the reader must
// stay inside its bytes and the result must be a valid graph or an error. Run under ASan in CI.
TEST_P(EitherPlan, ForgedOnesNeverCrash) {
  const auto bytes = serialize(GetParam()());
  std::uint64_t graph = 0;
  std::uint64_t graph_bytes = 0;
  std::memcpy(&graph, bytes.data() + kTable + kEntryBytes + 16, 8);
  std::memcpy(&graph_bytes, bytes.data() + kTable + kEntryBytes + 24, 8);
  std::mt19937_64 random(7);
  std::size_t refused = 0;
  for (int round = 0; round < 4000; ++round) {
    auto forged = bytes;
    const auto changes = 1 + random() % 4;
    for (std::uint64_t i = 0; i < changes; ++i) {
      // Half of the rounds damage the graph, half the header and its table.
      const std::size_t at = round % 2 == 0 ? graph + random() % graph_bytes : random() % kPreamble;
      forged[at] = static_cast<std::byte>(random() % 4 == 0 ? 0xFF : random());
    }
    seal(forged);
    const auto plan = deserialize(forged);
    if (!plan) {
      ++refused;
      continue;
    }
    EXPECT_TRUE(plan->network.validate());
    if (round % 16 == 0) run_if_it_loads(*plan);  // compiling takes milliseconds
  }
  EXPECT_GT(refused, 1000U);
}

TEST(Plan, ForgedCountsCostNoMemory) {
  ArchiveWriter writer;
  writer(std::uint64_t{1} << 60);
  const auto bytes = writer.take_bytes();
  ArchiveReader reader(bytes, {}, nullptr);
  std::vector<Layer> layers;
  reader(layers);
  EXPECT_FALSE(reader.ok());
  EXPECT_TRUE(layers.empty());
}

TEST(Plan, ManifestIsReadableAlone) {
  const auto bytes = serialize(small_plan());
  const auto manifest = read_manifest(bytes);
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_NE(manifest->find("\"max_batch\": 4"), std::string::npos) << *manifest;
  EXPECT_NE(manifest->find("person"), std::string::npos);
}

class PlanFile : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "fovea-plan-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST_F(PlanFile, SavesAndReadsAndLeavesNoTemporaryFile) {
  const std::string path = folder_ / "a.plan";
  ASSERT_TRUE(save_plan(small_plan(), path));
  ASSERT_TRUE(save_plan(small_plan(), path));
  const auto plan = read_plan(path);
  ASSERT_TRUE(plan) << plan.error().message;
  const auto files = std::filesystem::directory_iterator(folder_);
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);
}

TEST_F(PlanFile, ErrorsNameTheFile) {
  const auto absent = read_plan(folder_ / "absent.plan");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, ErrorCode::kNotFound);
  EXPECT_NE(absent.error().message.find("absent.plan"), std::string::npos);
  const auto folder = read_plan(folder_);
  ASSERT_FALSE(folder);
  EXPECT_EQ(folder.error().code, ErrorCode::kInvalidArgument) << folder.error().message;
  const auto unwritable = save_plan(small_plan(), folder_ / "no" / "such" / "a.plan");
  ASSERT_FALSE(unwritable);
}

// ModelProto{graph{initializer{external_data{location: NAME}}}} in protobuf's wire format.
std::string field(int number, const std::string& content) {
  return std::string(1, static_cast<char>(number << 3 | 2)) + static_cast<char>(content.size()) +
         content;
}
std::string model_naming(const std::string& name) {
  return field(7, field(5, field(13, field(1, "location") + field(2, name))));
}

TEST_F(PlanFile, ModelHashCoversExternalData) {
  const auto write = [&](const char* name, const std::string& text) {
    ASSERT_TRUE(write_file(folder_ / name, std::as_bytes(std::span(text))));
  };
  write("m.onnx", model_naming("weights.bin"));
  EXPECT_FALSE(hash_model(folder_ / "m.onnx")) << "the external file is missing";
  write("weights.bin", "one");
  const auto one = hash_model(folder_ / "m.onnx");
  write("weights.bin", "two");
  const auto two = hash_model(folder_ / "m.onnx");
  ASSERT_TRUE(one && two);
  EXPECT_NE(*one, *two);
}

TEST(ModelHash, WalkOverAnyBytesIsSafe) {
  const std::string good = model_naming("weights.bin");
  EXPECT_EQ(external_data_files(std::as_bytes(std::span(good))),
            std::vector<std::string>{"weights.bin"});
  std::mt19937 random(3);
  for (int round = 0; round < 2000; ++round) {
    std::string bad = good.substr(0, random() % (good.size() + 1));
    for (char& byte : bad) {
      if (random() % 8 == 0) byte = static_cast<char>(random());
    }
    (void)external_data_files(std::as_bytes(std::span(bad)));
  }
}

TEST(PrecisionWords, AreReadBackAndAWishIsNone) {
  for (const Precision precision : {Precision::kFp32, Precision::kFp16, Precision::kInt8}) {
    EXPECT_EQ(parse_precision(to_string(precision)), precision);
  }
  EXPECT_EQ(to_string(static_cast<Precision>(7)), "invalid");
  for (const char* other : {"best", "invalid", "", "FP32", "fp32 "}) {
    EXPECT_EQ(parse_precision(other), std::nullopt) << other;
  }
}

}  // namespace
}  // namespace fovea::engine
