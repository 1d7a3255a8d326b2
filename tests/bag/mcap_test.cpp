// Writing and reading recordings, whole, cut, damaged and hostile.
#include "nodes/bag/mcap.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nodes/bag/mcap_records.hpp"

namespace fovea::mcap {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class Mcap : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "fovea_mcap_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    path_ = (folder_ / "a.mcap").string();
  }
  void TearDown() override { fs::remove_all(folder_); }

  // `count` messages on two topics, 1 ms apart, 1 kB each, in chunks of about 4 messages.
  void record(int count, Compression compression, bool close = true) {
    auto writer = Writer::create(path_, {.compression = compression, .chunk_bytes = 4000});
    ASSERT_TRUE(writer) << writer.error().message;
    const auto schema = (*writer)->add_schema("fovea_msgs/msg/Thing", "ros2msg", "uint8 x\n");
    const std::uint16_t topics[] = {
        (*writer)->add_channel("cam0/image", schema, "cdr"),
        (*writer)->add_channel("cam1/image", schema, "cdr", {{"kind", "test"}})};
    for (int i = 0; i < count; ++i) {
      const std::vector<std::byte> data(1000, static_cast<std::byte>(i));
      ASSERT_TRUE((*writer)->write(topics[i % 2], static_cast<std::uint32_t>(i), time_of(i),
                                   time_of(i) - 5, data));
    }
    if (!close) {  // as a killed process would leave it
      const std::vector<char> so_far = bytes();
      ASSERT_TRUE((*writer)->close());
      write_bytes(so_far);
      return;
    }
    ASSERT_TRUE((*writer)->write_metadata("fovea", {{"dropped", "0"}}));
    ASSERT_TRUE((*writer)->close());
  }

  static std::int64_t time_of(int i) { return 1'000'000'000 + std::int64_t{1'000'000} * i; }

  // Sequence numbers, in order; an error ends up in `errors_`.
  std::vector<int> read(Reader& reader) {
    std::vector<int> sequence;
    for (;;) {
      auto message = reader.next();
      if (!message) {
        errors_.push_back(message.error().message);
        continue;
      }
      if (!*message) return sequence;
      EXPECT_EQ((*message)->data.size(), 1000u);
      EXPECT_EQ((*message)->data[999], static_cast<std::byte>((*message)->sequence));
      EXPECT_EQ((*message)->log_time, time_of(static_cast<int>((*message)->sequence)));
      sequence.push_back(static_cast<int>((*message)->sequence));
    }
  }

  std::vector<char> bytes() {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void write_bytes(std::span<const char> bytes) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

  // Where the contents of all records of this kind start.
  static std::vector<std::ptrdiff_t> contents_of(const std::vector<char>& file, Opcode opcode) {
    std::vector<std::ptrdiff_t> found;
    for (std::size_t at = kMagic.size(); at + kRecordHeaderBytes < file.size();) {
      std::uint64_t length = 0;
      std::memcpy(&length, file.data() + at + 1, sizeof length);
      const bool wanted = static_cast<Opcode>(file[at]) == opcode;
      at += kRecordHeaderBytes;
      if (wanted) found.push_back(static_cast<std::ptrdiff_t>(at));
      at += static_cast<std::size_t>(length);
    }
    return found;
  }

  static std::vector<int> counting(int count) {
    std::vector<int> numbers(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) numbers[static_cast<std::size_t>(i)] = i;
    return numbers;
  }

  fs::path folder_;
  std::string path_;
  std::vector<std::string> errors_;
};

TEST_F(Mcap, BringsEveryMessageBack) {
  for (const Compression compression : {Compression::kNone, Compression::kZstd}) {
    fs::remove(path_);
    record(50, compression);
    auto reader = Reader::open(path_);
    ASSERT_TRUE(reader) << reader.error().message;
    EXPECT_EQ(read(**reader), counting(50));
    const Summary& summary = (*reader)->summary();
    EXPECT_TRUE(summary.has_index);
    EXPECT_EQ(summary.damage, "");
    EXPECT_EQ(summary.messages, 50u);
    EXPECT_EQ(summary.start_time, time_of(0));
    EXPECT_EQ(summary.end_time, time_of(49));
    EXPECT_GT(summary.chunks, 10u);
    ASSERT_EQ((*reader)->channels().size(), 2u);
    EXPECT_EQ((*reader)->channels()[1].metadata.at("kind"), "test");
    EXPECT_EQ((*reader)->find_schema(1)->data, "uint8 x\n");
    EXPECT_EQ((*reader)->metadata().at("fovea").at("dropped"), "0");
    if (compression == Compression::kZstd) {
      EXPECT_LT(summary.compressed_bytes, summary.uncompressed_bytes / 5);
    }
  }
}

TEST_F(Mcap, SeeksByTimeAndTopic) {
  record(50, Compression::kZstd);
  auto reader = Reader::open(path_);
  ASSERT_TRUE(reader);
  const std::vector<std::string> topics{"cam1/image"};
  (*reader)->seek(time_of(40), topics);
  EXPECT_THAT(read(**reader), ::testing::ElementsAre(41, 43, 45, 47, 49));
  (*reader)->seek(0);
  EXPECT_EQ(read(**reader).size(), 50u);
}

TEST_F(Mcap, OrdersByTimeWhateverTheOrderOfWriting) {
  auto writer = Writer::create(path_, {.chunk_bytes = 2500});
  ASSERT_TRUE(writer);
  const auto channel = (*writer)->add_channel("a", 0, "cdr");
  for (const int i : {3, 0, 7, 1, 6, 2, 5, 4}) {
    const std::vector<std::byte> data(1000, static_cast<std::byte>(i));
    ASSERT_TRUE((*writer)->write(channel, static_cast<std::uint32_t>(i), time_of(i), 0, data));
  }
  ASSERT_TRUE((*writer)->close());
  auto reader = Reader::open(path_);
  ASSERT_TRUE(reader);
  EXPECT_EQ(read(**reader), counting(8));
}

TEST_F(Mcap, AnUnclosedFileIsReadUpToItsLastWholeChunk) {
  record(50, Compression::kZstd, false);
  auto reader = Reader::open(path_);
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_FALSE((*reader)->summary().has_index);
  EXPECT_THAT((*reader)->summary().damage, HasSubstr("not closed"));
  const std::vector<int> got = read(**reader);
  EXPECT_GE(got.size(), 45u);
  EXPECT_EQ(got, counting(static_cast<int>(got.size())));
}

TEST_F(Mcap, AnUnclosedFileSaysHowManyMessagesWereRecovered) {
  record(50, Compression::kZstd, false);
  auto reader = Reader::open(path_);
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_EQ((*reader)->summary().damage,
            "not closed: " + std::to_string(read(**reader).size()) + " messages recovered");
}

// A killed writer loses what came after its last flush(), and a reader needs neither index nor end.
TEST_F(Mcap, WhatWasFlushedIsReadableWithoutAnEnd) {
  auto writer = Writer::create(path_);
  ASSERT_TRUE(writer);
  const auto schema = (*writer)->add_schema("fovea_msgs/msg/Thing", "ros2msg", "uint8 x\n");
  const auto channel = (*writer)->add_channel("cam0/image", schema, "cdr");
  ASSERT_TRUE((*writer)->flush());
  {
    auto empty = Reader::open(path_);
    ASSERT_TRUE(empty) << empty.error().message;
    ASSERT_EQ((*empty)->channels().size(), 1u);
    EXPECT_NE((*empty)->find_schema(schema), nullptr);
    EXPECT_EQ((*empty)->summary().damage, "not closed: 0 messages recovered");
  }
  for (int i = 0; i < 7; ++i) {
    const std::vector<std::byte> data(1000, static_cast<std::byte>(i));
    ASSERT_TRUE((*writer)->write(channel, static_cast<std::uint32_t>(i), time_of(i), 0, data));
    if (i == 4) {
      ASSERT_TRUE((*writer)->flush());
      EXPECT_EQ((*writer)->messages(channel), 5u);
    }
  }
  auto reader = Reader::open(path_);
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_EQ(read(**reader), counting(5));
}

TEST_F(Mcap, EveryCutIsReadUpToItOrRefused) {
  record(12, Compression::kZstd);
  std::size_t most = 12;
  for (auto size = static_cast<std::size_t>(fs::file_size(path_)); size > 0; --size) {
    fs::resize_file(path_, size);
    auto reader = Reader::open(path_);
    if (!reader) {
      EXPECT_EQ(reader.error().code, ErrorCode::kCorrupt);
      continue;
    }
    const std::vector<int> got = read(**reader);
    EXPECT_EQ(got, counting(static_cast<int>(got.size())));
    EXPECT_LE(got.size(), most) << "a shorter file gave more messages";
    most = got.size();
  }
  EXPECT_EQ(most, 0u);
}

TEST_F(Mcap, ADamagedChunkCostsOnlyItself) {
  record(50, Compression::kZstd);
  std::vector<char> damaged = bytes();
  damaged[damaged.size() / 2] = static_cast<char>(damaged[damaged.size() / 2] ^ 0x10);
  write_bytes(damaged);
  auto reader = Reader::open(path_);
  ASSERT_TRUE(reader);
  const std::vector<int> got = read(**reader);
  EXPECT_LT(got.size(), 50u);
  EXPECT_GE(got.size(), 40u);
  EXPECT_THAT(errors_, ::testing::ElementsAre(HasSubstr("damaged")));
}

// One byte of the third chunk's records is another.
void flip_in_third_chunk(std::vector<char>& file, std::ptrdiff_t chunk) {
  char& byte = file[static_cast<std::size_t>(chunk) + 60];
  byte = static_cast<char>(byte ^ 0x10);
}

TEST_F(Mcap, ADamagedChunkIsNamedWithItsPlaceAndLoss) {
  for (const bool closed : {true, false}) {
    fs::remove(path_);
    record(50, Compression::kNone, closed);
    std::vector<char> file = bytes();
    const auto chunk = contents_of(file, Opcode::kChunk)[2];
    flip_in_third_chunk(file, chunk);
    write_bytes(file);
    auto reader = Reader::open(path_);
    ASSERT_TRUE(reader) << reader.error().message;
    const auto damaged = (*reader)->find_damaged_chunks();
    ASSERT_EQ(damaged.size(), 1u) << closed;
    EXPECT_EQ(damaged[0].offset, static_cast<std::uint64_t>(chunk) - kRecordHeaderBytes);
    EXPECT_GT(damaged[0].bytes, 4000u);
    EXPECT_EQ(damaged[0].messages, 4u);
    EXPECT_THAT(damaged[0].text(),
                HasSubstr("is damaged: its checksum differs; 4 messages are lost"));
    // Those behind it are read, also where there is no index to find them by.
    errors_.clear();
    EXPECT_EQ(read(**reader).size(), closed ? 46u : 44u);
    EXPECT_THAT(errors_, ::testing::ElementsAre(HasSubstr("4 messages are lost")));
    EXPECT_EQ((*reader)->skipped(), 4u);
    (*reader)->seek(0, std::vector<std::string>{"cam1/image"});
    errors_.clear();
    read(**reader);
    EXPECT_EQ((*reader)->skipped(), 2u) << "of the wanted topic";
  }
}

TEST_F(Mcap, AWholeFileHasNoDamagedChunk) {
  record(50, Compression::kZstd);
  auto reader = Reader::open(path_);
  ASSERT_TRUE(reader);
  EXPECT_THAT((*reader)->find_damaged_chunks(), ::testing::IsEmpty());
  EXPECT_EQ((*reader)->skipped(), 0u);
}

TEST_F(Mcap, ADamagedIndexIsToldAndNotNeeded) {
  record(50, Compression::kZstd);
  std::vector<char> file = bytes();
  file[static_cast<std::size_t>(contents_of(file, Opcode::kChunkIndex)[0])] ^= 0x10;
  write_bytes(file);
  auto reader = Reader::open(path_);
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_THAT((*reader)->summary().damage, HasSubstr("index is damaged"));
  EXPECT_EQ(read(**reader), counting(50));
}

// What a file system may leave at a file's end when the power fails.
TEST_F(Mcap, ZerosAtTheEndAreNoRecords) {
  record(12, Compression::kNone, false);
  std::vector<char> file = bytes();
  file.resize(file.size() + 4096);
  write_bytes(file);
  auto reader = Reader::open(path_);
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_THAT((*reader)->summary().damage, HasSubstr("there is no record at byte"));
  EXPECT_GE(read(**reader).size(), 8u);
}

TEST_F(Mcap, TimesOfAnyEraAreReadInOrder) {
  constexpr auto kFirst = std::numeric_limits<std::int64_t>::min();
  constexpr auto kLast = std::numeric_limits<std::int64_t>::max();
  const std::vector<std::int64_t> times{kFirst, -1'000'000'000, 0, kLast};
  auto writer = Writer::create(path_);
  ASSERT_TRUE(writer);
  const auto channel = (*writer)->add_channel("a", 0, "cdr");
  for (const std::int64_t time : times) ASSERT_TRUE((*writer)->write(channel, 0, time, time, {}));
  ASSERT_TRUE((*writer)->close());
  auto reader = Reader::open(path_);
  ASSERT_TRUE(reader) << reader.error().message;
  const Summary& summary = (*reader)->summary();
  EXPECT_EQ(summary.start_time, kFirst);
  EXPECT_EQ(time_between(summary.start_time, summary.end_time), kLast);
  EXPECT_EQ(time_between(summary.end_time, summary.start_time), kFirst);
  for (const std::int64_t time : times) {
    const auto message = (*reader)->next();
    ASSERT_TRUE(message && *message);
    EXPECT_EQ((*message)->log_time, time);
  }
}

// What fuzzing asked for: files that lie about sizes, chunks and times.
TEST_F(Mcap, AChunkCannotClaimMoreThanItsBytesCanHold) {
  record(50, Compression::kNone);
  std::vector<char> file = bytes();
  const std::uint64_t claimed = 1 << 29;
  std::memcpy(file.data() + contents_of(file, Opcode::kChunk)[1] + 16, &claimed, sizeof claimed);
  write_bytes(file);
  auto reader = Reader::open(path_);
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_GE(read(**reader).size(), 40u);
  EXPECT_THAT(errors_, ::testing::ElementsAre(HasSubstr("its size is 536870912")));
}

TEST_F(Mcap, AnIndexThatNamesAChunkTwiceIsNotUsed) {
  record(50, Compression::kNone);
  std::vector<char> file = bytes();
  const auto chunks = contents_of(file, Opcode::kChunkIndex);
  ASSERT_GT(chunks.size(), 2u);
  std::copy_n(file.begin() + chunks[0], chunks[1] - chunks[0] - 9, file.begin() + chunks[1]);
  std::memset(file.data() + contents_of(file, Opcode::kFooter)[0] + 16, 0, 4);  // no checksum
  write_bytes(file);
  auto reader = Reader::open(path_);
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_FALSE((*reader)->summary().has_index);
  EXPECT_EQ(read(**reader), counting(50));
}

TEST_F(Mcap, AMessageWithAnotherTimeThanItsIndexSaysIsRefused) {
  record(50, Compression::kZstd);
  std::vector<char> file = bytes();
  const std::int64_t late = time_of(40) + 1;
  std::memcpy(file.data() + contents_of(file, Opcode::kMessageIndex)[0] + 6, &late, sizeof late);
  write_bytes(file);
  auto reader = Reader::open(path_);
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_EQ(read(**reader).size(), 49u);
  EXPECT_THAT(errors_, ::testing::ElementsAre(HasSubstr("no message of its channel and time")));
}

TEST_F(Mcap, AnyFlippedByteIsSafe) {
  record(12, Compression::kZstd);
  const std::vector<char> whole = bytes();
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    std::vector<char> damaged = whole;
    for (int i = 0; i <= round % 3; ++i) {
      damaged[random() % damaged.size()] = static_cast<char>(random());
    }
    write_bytes(damaged);
    auto reader = Reader::open(path_);
    if (!reader) continue;
    for (int i = 0; i < 40; ++i) {
      auto message = (*reader)->next();
      if (message && !*message) break;
    }
  }
}

TEST_F(Mcap, RefusesWhatIsNoRecording) {
  write_bytes(std::string(100, 'x'));
  auto text = Reader::open(path_);
  ASSERT_FALSE(text);
  EXPECT_THAT(text.error().message, HasSubstr("is no MCAP file"));
  auto absent = Reader::open((folder_ / "absent.mcap").string());
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(Reader::open(folder_.string()));
}

TEST_F(Mcap, WaitsForNoFifo) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  const auto reader = Reader::open(path_);
  ASSERT_FALSE(reader);
  EXPECT_THAT(reader.error().message, HasSubstr("is a FIFO"));
  const auto writer = Writer::create(path_, {.overwrite = true});
  ASSERT_FALSE(writer);
  EXPECT_THAT(writer.error().message, HasSubstr("is a FIFO"));
}

TEST_F(Mcap, OverwritesWhenToldTo) {
  record(20, Compression::kNone);
  auto writer = Writer::create(path_, {.overwrite = true});
  ASSERT_TRUE(writer) << writer.error().message;
  ASSERT_TRUE((*writer)->close());
  auto reader = Reader::open(path_);
  ASSERT_TRUE(reader);
  EXPECT_EQ((*reader)->summary().messages, 0u);
}

TEST_F(Mcap, NeverOverwrites) {
  record(2, Compression::kNone);
  auto again = Writer::create(path_);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(again.error().message, HasSubstr(path_));
}

TEST_F(Mcap, AFullDiskLeavesAReadableFile) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  auto writer = Writer::create(path_, {.compression = Compression::kNone, .chunk_bytes = 4000});
  ASSERT_TRUE(writer);
  const auto channel = (*writer)->add_channel("a", 0, "cdr");
  const rlimit small{30'000, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  int written = 0;
  Result<> result;
  while (result && written < 100) {
    const std::vector<std::byte> data(1000, static_cast<std::byte>(written));
    result =
        (*writer)->write(channel, static_cast<std::uint32_t>(written), time_of(written), 0, data);
    ++written;
  }
  EXPECT_FALSE(result) << "the limit was not hit";
  const auto size = fs::file_size(path_);
  EXPECT_FALSE((*writer)->close());
  EXPECT_EQ(fs::file_size(path_), size) << "half an index was left at the end";
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, old_handler);
  auto reader = Reader::open(path_);
  ASSERT_TRUE(reader) << reader.error().message;
  const std::vector<int> got = read(**reader);
  EXPECT_GE(got.size(), 20u);
  EXPECT_EQ(got, counting(static_cast<int>(got.size())));
  EXPECT_THAT(errors_, ::testing::IsEmpty());
}

}  // namespace
}  // namespace fovea::mcap
