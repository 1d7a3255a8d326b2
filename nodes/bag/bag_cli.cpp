// The `fovea bag` command: record, play and look at recordings. Recording and playing are nodes
// (fovea-recorder, fovea-player) that this process becomes; the rest reads files.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nodes/bag/detection_hash.hpp"
#include "nodes/bag/mcap.hpp"
#include "nodes/bag/topic_type.hpp"
#include "nodes/base/terminal.hpp"
#include "nodes/base/text.hpp"
#include "nodes/runtime/domain.hpp"
#include "nodes/runtime/figures/metrics.hpp"

namespace fovea {
namespace {

constexpr int kExitUsage = 2;

int complain(const std::string& message, int code = 1) {
  print_error("fovea bag: {}", one_line(message));
  return code;
}

// An executable from the folder where this one lies.
std::string beside(const std::string& executable) {
  return std::filesystem::read_symlink("/proc/self/exe").replace_filename(executable).string();
}

// `path` and `arguments` as exec wants them; valid as long as they are.
std::vector<char*> argument_vector(const std::string& path,
                                   const std::vector<std::string>& arguments) {
  std::vector<char*> argv{const_cast<char*>(path.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  return argv;
}

// Replaces this process by `executable`.
int become(const std::string& executable, const std::vector<std::string>& arguments) {
  const std::string path = beside(executable);
  execv(path.c_str(), argument_vector(path, arguments).data());
  return complain(fmt::format("cannot run {}: {}", path, std::strerror(errno)));
}

// Any instant, also one before 1970.
std::string time_text(std::int64_t ns) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  std::time_t seconds = ns / kSecond;
  std::int64_t rest = ns % kSecond;
  if (rest < 0) {
    --seconds;
    rest += kSecond;
  }
  return fmt::format("{:%Y-%m-%d %H:%M:%S}.{:03} UTC", fmt::gmtime(seconds), rest / 1'000'000);
}

double duration_s(const mcap::Summary& summary) {
  return static_cast<double>(mcap::time_between(summary.start_time, summary.end_time)) / 1e9;
}

std::uint64_t lost_messages(const std::vector<mcap::DamagedChunk>& damaged) {
  std::uint64_t lost = 0;
  for (const mcap::DamagedChunk& chunk : damaged) lost += chunk.messages;
  return lost;
}

struct CommandLine {
  std::string domain;
  std::string file;
  std::vector<std::string> topics;  // verify: the launch file's arguments
  bool all = false;
  bool force = false;
  bool json = false;
  std::string node = "recorder";
  int runs = 2;
  std::string expected;
};

int record(const CommandLine& line, const std::vector<std::string>& more) {
  std::vector<std::string> topics = line.topics;
  if (topics.empty()) {
    const auto domain = Domain::open(line.domain);
    if (!domain) return complain(domain.error().message, kExitUsage);
    for (const std::string& topic : domain->list_topics()) {
      const bool bulky = topic.ends_with("/tensor") || topic.ends_with("/heads");
      const auto known = [](auto) { return Result<>{}; };
      if ((line.all || !bulky) && bag::with_type_of(topic, known) && domain->topic_alive(topic)) {
        topics.push_back(topic);
      }
    }
    if (topics.empty()) {
      return complain(
          fmt::format("nobody publishes anything in domain `{}`; start a launch file "
                      "first, or name the topics to wait for",
                      domain->name()));
    }
    print_error("recording {}", fmt::join(topics, ", "));
  }
  const std::string file = !line.file.empty() ? line.file
                                              : fmt::format("fovea_{:%Y%m%d-%H%M%S}.mcap",
                                                            fmt::localtime(std::time(nullptr)));
  std::vector<std::string> arguments{"--path", file, "--topics",
                                     fmt::format("{}", fmt::join(topics, ","))};
  if (line.force) arguments.emplace_back("--overwrite=true");
  if (!line.domain.empty()) arguments.insert(arguments.end(), {"--domain", line.domain});
  arguments.insert(arguments.end(), more.begin(), more.end());
  return become("fovea-recorder", arguments);
}

int play(const CommandLine& line, const std::vector<std::string>& more) {
  std::vector<std::string> arguments{"--path", line.file};
  if (!line.topics.empty()) {
    arguments.insert(arguments.end(), {"--topics", fmt::format("{}", fmt::join(line.topics, ","))});
  }
  if (!line.domain.empty()) arguments.insert(arguments.end(), {"--domain", line.domain});
  arguments.insert(arguments.end(), more.begin(), more.end());
  return become("fovea-player", arguments);
}

void print_info_json(const std::string& file, const mcap::Reader& reader,
                     const std::vector<mcap::DamagedChunk>& damaged) {
  const mcap::Summary& summary = reader.summary();
  nlohmann::ordered_json chunks = nlohmann::ordered_json::array();
  for (const mcap::DamagedChunk& chunk : damaged) {
    chunks.push_back({{"offset", chunk.offset},
                      {"bytes", chunk.bytes},
                      {"messages", chunk.messages},
                      {"reason", chunk.reason}});
  }
  nlohmann::ordered_json topics = nlohmann::ordered_json::array();
  for (const mcap::Channel& channel : reader.channels()) {
    const mcap::Schema* schema = reader.find_schema(channel.schema_id);
    const auto count = summary.messages_by_channel.find(channel.id);
    topics.push_back(
        {{"topic", channel.topic},
         {"type", schema != nullptr ? schema->name : ""},
         {"messages", count == summary.messages_by_channel.end() ? 0 : count->second}});
  }
  const nlohmann::ordered_json info{{"file", file},
                                    {"bytes", summary.file_bytes},
                                    {"closed", summary.has_index},
                                    {"damage", summary.damage},
                                    {"damaged_chunks", chunks},
                                    {"lost_messages", lost_messages(damaged)},
                                    {"start_ns", summary.start_time},
                                    {"end_ns", summary.end_time},
                                    {"duration_s", duration_s(summary)},
                                    {"messages", summary.messages},
                                    {"chunks", summary.chunks},
                                    {"compressed_bytes", summary.compressed_bytes},
                                    {"uncompressed_bytes", summary.uncompressed_bytes},
                                    {"metadata", reader.metadata()},
                                    {"topics", topics}};
  print_out("{}\n", info.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

void print_info(const std::string& file, const mcap::Reader& reader,
                const std::vector<mcap::DamagedChunk>& damaged) {
  const mcap::Summary& summary = reader.summary();
  const double seconds = duration_s(summary);
  const double packed = static_cast<double>(summary.compressed_bytes);
  print_out("file      {} ({:.1f} MB{})\n", file, static_cast<double>(summary.file_bytes) / 1e6,
            summary.has_index ? "" : ", without an index");
  if (!summary.damage.empty()) print_out("damage    {}\n", one_line(summary.damage));
  constexpr std::size_t kMostNamed = 20;
  for (std::size_t i = 0; i < std::min(damaged.size(), kMostNamed); ++i) {
    print_out("damage    {}\n", one_line(damaged[i].text()));
  }
  if (damaged.size() > kMostNamed) {
    print_out("damage    and {} chunks more; {} messages are lost in all\n",
              damaged.size() - kMostNamed, lost_messages(damaged));
  }
  if (summary.messages > 0) {
    print_out("start     {}\n", time_text(summary.start_time));
    print_out("duration  {:.3f} s\n", seconds);
  }
  print_out("messages  {} in {} chunks\n", summary.messages, summary.chunks);
  if (packed > 0) {
    print_out("packed    {:.1f} %\n",
              100 * packed / static_cast<double>(summary.uncompressed_bytes));
  }
  for (const auto& [name, values] : reader.metadata()) {
    for (const auto& [key, value] : values)
      print_out("{:<9} {} = {}\n", one_line(name), one_line(key), shown(value));
  }
  std::size_t width = 5;
  for (const mcap::Channel& channel : reader.channels()) {
    width = std::max(width, one_line(channel.topic).size());
  }
  print_out("{:<{}}  messages      Hz  type\n", "topic", width);
  for (const mcap::Channel& channel : reader.channels()) {
    const mcap::Schema* schema = reader.find_schema(channel.schema_id);
    const auto found = summary.messages_by_channel.find(channel.id);
    const std::uint64_t count = found == summary.messages_by_channel.end() ? 0 : found->second;
    const std::string rate = seconds > 0 && count > 1
                                 ? fmt::format("{:.2f}", static_cast<double>(count - 1) / seconds)
                                 : "-";
    print_out("{:<{}}  {:>8}  {:>6}  {}\n", one_line(channel.topic), width, count, rate,
              schema != nullptr ? one_line(schema->name) : "");
  }
}

int info(const CommandLine& line) {
  const auto reader = mcap::Reader::open(line.file);
  if (!reader) return complain(reader.error().message);
  const std::vector<mcap::DamagedChunk> damaged = (*reader)->find_damaged_chunks();
  if (line.json) {
    print_info_json(line.file, **reader, damaged);
  } else {
    print_info(line.file, **reader, damaged);
  }
  return (*reader)->summary().damage.empty() && damaged.empty() ? 0 : 1;
}

int hash(const CommandLine& line) {
  const auto hashes = bag::hash_detections(line.file);
  if (!hashes) return complain(hashes.error().message);
  if (line.json) {
    nlohmann::ordered_json out;
    for (const bag::DetectionHash& h : *hashes) {
      out[h.topic] = {{"frames", h.frames}, {"detections", h.detections}, {"hash", h.text()}};
    }
    print_out("{}\n", out.dump(2));
    return 0;
  }
  for (const bag::DetectionHash& h : *hashes) {
    print_out("{}  {}  {} frames, {} detections\n", h.text(), h.topic, h.frames, h.detections);
  }
  return 0;
}

// A run of the replay launch file over `source`, its detections recorded to `file`. Its exit code,
// or -1.
int replay(const std::string& source, const std::string& file, const CommandLine& line) {
  const std::string path = beside("fovea");
  std::vector<std::string> arguments{"launch",
                                     "replay",
                                     "video:=" + source,
                                     "rate:=-1",
                                     "record:=true",
                                     "record_to:=" + file,
                                     "reliability:=reliable",
                                     "--quiet",
                                     "--domain",
                                     fmt::format("verify-{}", getpid())};
  arguments.insert(arguments.end(), line.topics.begin(), line.topics.end());
  pid_t child = 0;
  if (posix_spawn(&child, path.c_str(), nullptr, nullptr, argument_vector(path, arguments).data(),
                  environ) != 0) {
    return -1;
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Says what of a recording cannot be replayed; whether there is anything.
bool complain_of_damage(const std::string& file) {
  const auto reader = mcap::Reader::open(file);
  if (!reader) return false;  // the replay itself will say it
  bool any = !(*reader)->summary().damage.empty();
  if (any) complain(fmt::format("{}: {}", file, (*reader)->summary().damage));
  for (const mcap::DamagedChunk& chunk : (*reader)->find_damaged_chunks()) {
    any = true;
    complain(fmt::format("{}: {}", file, chunk.text()));
  }
  return any;
}

// Replays a recording several times through the whole pipeline and compares what it found.
int verify(const CommandLine& line) {
  const bool is_damaged =
      line.file.find("://") == std::string::npos && complain_of_damage(line.file);
  const std::string source = line.file.find("://") != std::string::npos
                                 ? line.file
                                 : "bag://" + std::filesystem::absolute(line.file).string();
  std::string pattern = (std::filesystem::temp_directory_path() / "fovea_verify_XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) return complain("mkdtemp: " + pattern);
  const std::filesystem::path folder = pattern;
  std::string expected = line.expected;
  int differing = 0;
  int code = 0;
  for (int run = 1; run <= line.runs && code == 0; ++run) {
    const std::string file = (folder / fmt::format("run_{}.mcap", run)).string();
    if (code = replay(source, file, line); code != 0) {
      complain(fmt::format("run {}: the replay ended with {}", run, code));
      break;
    }
    const auto hashes = bag::hash_detections(file);
    if (!hashes || hashes->size() != 1) {
      code = complain(hashes ? "the replay recorded no single topic" : hashes.error().message);
      break;
    }
    const bag::DetectionHash& found = hashes->front();
    if (expected.empty()) expected = found.text();
    const bool equal = found.text() == expected;
    differing += equal ? 0 : 1;
    print_out("run {:>2}  {}  {} frames, {} detections{}\n", run, found.text(), found.frames,
              found.detections, equal ? "" : "  DIFFERS");
    std::fflush(stdout);
  }
  std::filesystem::remove_all(folder);
  if (code != 0) return code;
  print_out("{} of {} runs equal {}\n", line.runs - differing, line.runs, expected);
  return differing == 0 && !is_damaged ? 0 : 1;
}

// Tells a recorder that keeps a ring to write it.
int trigger(const CommandLine& line) {
  const auto domain = Domain::open(line.domain);
  if (!domain) return complain(domain.error().message, kExitUsage);
  const auto page = MetricsReader::open(*domain, line.node);
  if (!page || !(*page)->alive() || (*page)->type() != "recorder") {
    return complain(
        fmt::format("no recorder named `{}` runs in domain `{}`", line.node, domain->name()));
  }
  if (kill(static_cast<pid_t>((*page)->pid()), SIGUSR1) != 0) {
    return complain(
        fmt::format("cannot signal process {}: {}", (*page)->pid(), std::strerror(errno)));
  }
  return 0;
}

// Takes the node's own options, `--image-format raw`, out of `record` and `play` command lines:
// what starts with a dash and is none of ours, with the word behind it.
std::vector<std::string> take_node_options(std::vector<std::string>& words) {
  const std::vector<std::string> ours{"-o",       "--output", "-a",      "--all", "--domain",
                                      "--topics", "-h",       "--force", "--help"};
  const std::vector<std::string> flags{"--keep-metrics", "--no-autostart", "--dump-config"};
  const auto is_option = [](const std::string& word) {
    return word.size() > 1 && word[0] == '-' && (word[1] < '0' || word[1] > '9');
  };
  const auto contains = [](const auto& list, const std::string& word) {
    return std::find(list.begin(), list.end(), word.substr(0, word.find('='))) != list.end();
  };
  std::vector<std::string> kept, taken;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (!is_option(words[i]) || contains(ours, words[i])) {
      kept.push_back(words[i]);
      continue;
    }
    taken.push_back(words[i]);
    const bool has_value = !contains(flags, words[i]) && words[i].find('=') == std::string::npos;
    if (has_value && i + 1 < words.size() && !is_option(words[i + 1])) taken.push_back(words[++i]);
  }
  words = std::move(kept);
  return taken;
}

int run(int argc, char** argv) {
  CLI::App app("Record, play and look at recordings (MCAP files)", "fovea bag");
  app.require_subcommand(1);
  CommandLine line;
  const auto add = [&](const char* name, const char* description) {
    return app.add_subcommand(name, description);
  };
  CLI::App* record_command =
      add("record",
          "Record topics until Ctrl-C. Further options go to the recorder: see "
          "fovea-recorder --help");
  record_command->add_option("topics", line.topics,
                             "Topics; none = all that are published now, but tensors and heads");
  record_command->add_option("-o,--output", line.file, "File (default fovea_DATE-TIME.mcap)");
  record_command->add_flag("-a,--all", line.all, "Tensors and heads too");
  record_command->add_flag("--force", line.force, "Overwrite the file if it exists");
  CLI::App* play_command =
      add("play",
          "Publish a recording's topics again. Further options go to the player: see "
          "fovea-player --help");
  play_command->add_option("file", line.file, "MCAP file")->required();
  play_command->add_option("--topics", line.topics, "Topics (default all)")->delimiter(',');
  CLI::App* info_command =
      add("info", "What a recording holds; reads all of it, exit code 1 if it is damaged");
  CLI::App* hash_command =
      add("hash",
          "One number per detections topic: equal for equal frames, classes, scores and "
          "boxes, whatever the timing");
  for (CLI::App* command : {info_command, hash_command}) {
    command->add_option("file", line.file, "MCAP file")->required();
    command->add_flag("--json", line.json, "As JSON");
  }
  CLI::App* verify_command =
      add("verify",
          "Replay a recording through the whole pipeline, again and again, and compare "
          "the detections; exit code 1 if they differ");
  verify_command->add_option("source", line.file, "MCAP file, or a camera's URI (file://...)")
      ->required();
  verify_command->add_option("arguments", line.topics,
                             "Arguments of the replay launch file, name:=value");
  verify_command->add_option("--runs", line.runs, "How often")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  verify_command->add_option("--expect", line.expected,
                             "The hash that every run must have; default: the first run's");
  CLI::App* trigger_command = add("trigger", "Make a recorder that keeps a ring write it");
  trigger_command->add_option("--name", line.node, "The recorder's name")->capture_default_str();
  for (CLI::App* command : {record_command, play_command, trigger_command}) {
    command->add_option("--domain", line.domain, "Deployment ($FOVEA_DOMAIN, else default)");
  }
  std::vector<std::string> words(argv + 1, argv + argc);
  std::vector<std::string> node_options;
  if (!words.empty() && (words[0] == "record" || words[0] == "play")) {
    node_options = take_node_options(words);
  }
  std::reverse(words.begin(), words.end());  // as CLI11 wants them
  try {
    app.parse(words);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    return complain(std::string(error.what()) + "; see fovea bag --help", kExitUsage);
  }
  if (record_command->parsed()) return record(line, node_options);
  if (play_command->parsed()) return play(line, node_options);
  if (info_command->parsed()) return info(line);
  if (hash_command->parsed()) return hash(line);
  if (verify_command->parsed()) return verify(line);
  return trigger(line);
}

}  // namespace
}  // namespace fovea

int main(int argc, char** argv) {
  fovea::prepare_process();
  return fovea::exit_code_of_tool("fovea bag", fovea::run(argc, argv));
}
