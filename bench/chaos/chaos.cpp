#include "bench/chaos/chaos.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <memory>
#include <optional>
#include <random>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <signal.h>
#include <stdlib.h>

#include "bench/chaos/slot_watch.hpp"
#include "msgs/detection.hpp"
#include "nodes/base/clock.hpp"
#include "nodes/base/terminal.hpp"
#include "nodes/runtime/figures/chain.hpp"
#include "nodes/runtime/figures/metrics.hpp"
#include "nodes/runtime/topics/pubsub.hpp"
#include "tests/support/child.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea::bench {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kStuck = 60'000 * kMs;  // a node that is not back by then
constexpr std::int64_t kLookEvery = 20 * kMs;
constexpr std::array kCameras{"cam0", "cam1", "cam2", "cam3"};
constexpr std::array kNodes{"cam0",     "cam1",        "cam2",     "cam3",    "preprocess",
                            "detector", "postprocess", "witness0", "witness1"};
constexpr std::array kStages{"preprocess", "detector", "postprocess"};
constexpr int kObjects = 12;

std::string launch_text(const ChaosOptions& options) {
  const std::string models = options.share / "config/models/yolov8p_demo_dynamic";
  std::string text = "launch:\n";
  const auto node = [&](const std::string& exec, const std::string& name,
                        const std::vector<std::string>& parameters, const std::string& needs) {
    const auto other = options.replacements.find(exec);
    const std::filesystem::path program =
        other == options.replacements.end() ? options.bin / exec : other->second;
    text += fmt::format("  - node:\n      exec: {}\n      name: {}\n      param:\n",
                        program.native(), name);
    for (const std::string& parameter : parameters) text += "        - " + parameter + "\n";
    text += "      respawn: true\n      heartbeat_timeout: 3\n";
    if (!options.any_signal) text += "      respawn_max_retries: -1\n";
    if (!needs.empty()) text += fmt::format("      depends_on: [{}]\n", needs);
  };
  const std::string cameras = "{name: cameras, value: [cam0, cam1, cam2, cam3]}";
  const std::string scene = fmt::format(
      "{{name: uri, value: \"synthetic://?width=320&height=240&fps=20&objects={}\"}}", kObjects);
  const std::string objects = fmt::format("{{name: objects, value: \"{}\"}}", kObjects);
  node("fovea-postprocess", "postprocess", {cameras}, "");
  node("fovea-detector", "detector",
       {cameras, fmt::format("{{name: model, value: {}.onnx}}", models),
        "{name: precision, value: int8}",
        fmt::format("{{name: calibration, value: {}.calibration.json}}", models),
        "{name: threads, value: \"1\"}"},
       "postprocess");
  node("fovea-preprocess", "preprocess", {cameras}, "detector");
  node("fovea-chaos-witness", "witness0", {cameras, objects}, "");
  // This one asks for every frame that it missed while it was stopped: most slots have been written
  // anew by then, and it must not take them for what they were.
  node("fovea-chaos-witness", "witness1", {cameras, objects, "{name: depth, value: \"40\"}"}, "");
  for (std::size_t i = 0; i < kCameras.size(); ++i) {
    node("fovea-camera", kCameras[i],
         {scene, fmt::format("{{name: seed, value: \"{}\"}}", i + 1),
          "{name: slots, value: \"10\"}"},
         "preprocess, witness0, witness1");
  }
  return text;
}

// The end of the pipeline that is never killed: which frames really came out?
class Auditor {
 public:
  explicit Auditor(const Domain& domain) {
    auto page = MetricsPage::create(domain, "auditor", "auditor");
    if (!page) throw std::runtime_error(page.error().message);
    page_ = std::move(*page);
    for (const char* camera : kCameras) {
      auto stream = std::make_unique<Stream>(*page_, camera);
      auto detections = Subscription<msgs::Detection2DArray>::create(
          domain, std::string(camera) + "/detections", {.depth = 64}, &stream->ledger);
      if (!detections) throw std::runtime_error(detections.error().message);
      stream->detections.emplace(std::move(*detections));
      streams_.emplace(camera, std::move(stream));
    }
  }

  void drain() {
    for (auto& [camera, stream] : streams_) {
      stream->detections->drain();
      while (auto received = stream->detections->take()) {
        const std::uint64_t number = received->message.header.seq;
        if (stream->seen.size() <= number) stream->seen.resize(number + 1000);
        if (stream->seen[number]) ++stream->repeated;
        stream->seen[number] = true;
        stream->ledger.depart();
      }
    }
  }

  std::uint64_t received(const std::string& camera) const {
    const auto& seen = streams_.at(camera)->seen;
    return static_cast<std::uint64_t>(std::count(seen.begin(), seen.end(), true));
  }
  std::uint64_t repeated(const std::string& camera) const { return streams_.at(camera)->repeated; }

 private:
  struct Stream {
    Stream(MetricsPage& page, const char* camera) : ledger(page, camera) {}
    StageLedger ledger;
    std::optional<Subscription<msgs::Detection2DArray>> detections;
    std::vector<bool> seen;  // by frame number
    std::uint64_t repeated = 0;
  };
  std::unique_ptr<MetricsPage> page_;
  std::map<std::string, std::unique_ptr<Stream>> streams_;
};

class Chaos {
 public:
  explicit Chaos(const ChaosOptions& options) : options_(options), random_(options.seed) {
    setenv("FOVEA_CACHE_DIR", (domain_.root() / "cache").c_str(), 1);
    setenv("FOVEA_SHARE", options.share.c_str(), 1);
    auditor_ = std::make_unique<Auditor>(*domain_);
    watch_ = std::make_unique<SlotWatch>(*domain_);
    for (const char* name : kNodes) victims_[name].fate = &report_.nodes[name];
  }

  ChaosReport run() {
    const std::string file = domain_.root() / "chaos.launch.yaml", json = domain_.root() / "report";
    std::ofstream(file) << launch_text(options_);
    const std::int64_t began = monotonic_ns();
    launch_ = std::make_unique<test::Child>(
        domain_.root(), options_.bin / "fovea",
        std::vector<std::string>{"launch", file, "--domain", "test", "--json", json, "--quiet"});
    if (wait_until_all_work("at the start")) {
      rage();
      wait_until_all_work("at the end");
    }
    expect_no_dead_hold();
    finish(json);
    report_.seconds = static_cast<double>(monotonic_ns() - began) / 1e9;
    return report_;
  }

 private:
  enum class Stand { kAway, kActive, kWorks };
  struct Victim {
    NodeFate* fate = nullptr;
    std::unique_ptr<MetricsReader> page;
    Stand stand = Stand::kAway;
    std::int64_t hit_ns = 0;  // when it was killed
    bool timed = false;       // by SIGKILL, so that the time to come back counts
    std::uint32_t old_pid = 0;
    std::uint64_t frames = 0;      // when it became active
    std::int64_t continue_ns = 0;  // it is stopped until then
    bool dies_stopped = false;
  };

  int below(int n) { return std::uniform_int_distribution(0, n - 1)(random_); }
  void wrong(std::string what) {
    if (report_.wrong.size() < 20) report_.wrong.push_back(std::move(what));
  }

  // What leaves a node, over all cameras.
  static std::uint64_t frames_of(const MetricsReader& page) {
    std::uint64_t sum = 0;
    for (const char* camera : kCameras) sum += page.value("frames_out", camera);
    return sum;
  }

  void tick() {
    const std::int64_t now = monotonic_ns();
    auditor_->drain();
    for (auto& [name, victim] : victims_) follow(name, victim, now);
    if (now >= next_look_ns_) {
      watch_->look();
      next_look_ns_ = now + kLookEvery;
    }
    std::this_thread::sleep_for(2ms);
  }

  void follow(const std::string& name, Victim& victim, std::int64_t now) {
    if (!victim.page) {
      if (auto page = MetricsReader::open(*domain_, name)) victim.page = std::move(*page);
      if (!victim.page) return;
    }
    if (victim.continue_ns != 0 && now >= victim.continue_ns) {
      victim.continue_ns = 0;
      if (victim.dies_stopped) {
        strike(victim, SIGKILL);
      } else {
        kill(static_cast<pid_t>(victim.page->pid()), SIGCONT);
      }
    }
    const double ms = static_cast<double>(now - victim.hit_ns) / 1e6;
    if (victim.stand == Stand::kAway && victim.page->pid() != victim.old_pid &&
        victim.page->alive() && victim.page->state() == msgs::LifecycleState::kActive) {
      victim.stand = Stand::kActive;
      victim.frames = frames_of(*victim.page);
      if (victim.timed) victim.fate->active_ms.push_back(ms);
    }
    if (victim.stand == Stand::kActive && frames_of(*victim.page) > victim.frames) {
      victim.stand = Stand::kWorks;
      if (victim.timed) victim.fate->working_ms.push_back(ms);
    }
    if (victim.stand != Stand::kWorks && victim.hit_ns != 0 && now - victim.hit_ns > kStuck) {
      wrong(fmt::format("{} was not back after {:.0f} s", name, ms / 1e3));
      gave_up_ = true;
    }
  }

  bool wait_until_all_work(const char* when) {
    for (const std::int64_t limit = monotonic_ns() + 2 * kStuck; monotonic_ns() < limit;) {
      tick();
      if (gave_up_) return false;
      if (std::all_of(victims_.begin(), victims_.end(), [](const auto& victim) {
            return victim.second.stand == Stand::kWorks && victim.second.continue_ns == 0;
          })) {
        return all_cameras_deliver(when);
      }
    }
    wrong(fmt::format("not every node worked {}: {}", when, launch_->err()));
    return false;
  }

  // Frames that were captured from here on come out.
  bool all_cameras_deliver(const char* when) {
    std::map<std::string, std::uint64_t> before;
    for (const char* camera : kCameras) before[camera] = auditor_->received(camera);
    for (const std::int64_t limit = monotonic_ns() + kStuck; monotonic_ns() < limit;) {
      tick();
      if (std::all_of(before.begin(), before.end(), [this](const auto& camera) {
            return auditor_->received(camera.first) >= camera.second + 5;
          })) {
        return true;
      }
    }
    wrong(fmt::format("not every camera delivered {}", when));
    return false;
  }

  void rage() {
    int kills = 0;
    while (kills < options_.kills && !gave_up_) {
      const std::int64_t until =
          monotonic_ns() + below(2 * options_.interval_ms * 1000) * std::int64_t{1000};
      while (monotonic_ns() < until) tick();
      Victim& victim = victims_.at(kNodes[static_cast<std::size_t>(below(kNodes.size()))]);
      const int how = below(100);
      const bool early = victim.stand == Stand::kAway && victim.page &&
                         victim.page->pid() != victim.old_pid && victim.page->alive();
      if (early && victim.continue_ns == 0 && how < 30 && !options_.any_signal) {
        ++victim.fate->early;
        strike(victim, SIGKILL);
        ++kills;
      }
      if (victim.stand != Stand::kWorks || victim.continue_ns != 0) continue;
      if (options_.any_signal) {
        constexpr std::array kSignals{SIGTERM, SIGINT, SIGKILL, SIGSTOP};
        const int signal = kSignals[static_cast<std::size_t>(how % 4)];
        if (signal == SIGSTOP) ++victim.fate->hangs;
        strike(victim, signal);
        ++kills;
      } else if (how < 70) {
        strike(victim, SIGKILL);
        ++kills;
      } else if (how < 72) {
        ++victim.fate->hangs;
        strike(victim, SIGSTOP);
        ++kills;
      } else {
        victim.dies_stopped = how >= 94;
        if (victim.dies_stopped) {
          ++kills;
        } else {
          ++victim.fate->stops;
        }
        victim.continue_ns = monotonic_ns() + (1 + below(1500)) * kMs;
        kill(static_cast<pid_t>(victim.page->pid()), SIGSTOP);
      }
      if (options_.progress && kills % 20 == 0) {
        print_text(2, fmt::format("\r{} kills, {} slots seen with the dead, {} leaked ", kills,
                                  watch_->cases(), watch_->leaked()));
      }
    }
    if (options_.progress) print_error("");
  }

  void strike(Victim& victim, int signal) {
    victim.old_pid = victim.page->pid();
    victim.timed = signal != SIGSTOP;
    if (signal != SIGSTOP) ++victim.fate->kills;
    victim.stand = Stand::kAway;
    victim.hit_ns = monotonic_ns();
    kill(static_cast<pid_t>(victim.old_pid), signal);
  }

  // With everyone alive and frames flowing, publishers take back what the dead held.
  void expect_no_dead_hold() {
    const std::int64_t limit = monotonic_ns() + kStuck;
    do {
      tick();
      watch_->look();
    } while (watch_->held_by_the_dead() > 0 && monotonic_ns() < limit && !gave_up_);
    if (watch_->held_by_the_dead() > 0)
      wrong(fmt::format("{} slots are held by the dead", watch_->held_by_the_dead()));
    report_.leaked = watch_->leaked();
    report_.dead_holds = watch_->cases();
  }

  void finish(const std::string& json) {
    std::vector<pid_t> last_pids;
    for (const auto& [name, victim] : victims_) {
      if (victim.page) last_pids.push_back(static_cast<pid_t>(victim.page->pid()));
    }
    kill(launch_->pid(), SIGINT);
    int status = 0;
    const std::int64_t limit = monotonic_ns() + kStuck;
    while (waitpid_now(status) == 0 && monotonic_ns() < limit) {
      auditor_->drain();
      std::this_thread::sleep_for(1ms);
    }
    auditor_->drain();
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
      wrong(fmt::format("the launch ended with status {}", status));
    for (const pid_t pid : last_pids) {
      if (kill(pid, 0) == 0) wrong(fmt::format("process {} is still there", pid));
    }
    for (const auto& [name, victim] : victims_) {
      if (!victim.page) continue;
      for (const char* camera : kCameras) {
        report_.verified += victim.page->value("verified", camera);
        report_.torn += victim.page->value("torn", camera);
      }
    }
    for (const char* camera : kCameras) judge_ledger(camera);
    auditor_.reset();
    judge_report(json);
    judge_leftovers();
  }

  int waitpid_now(int& status) { return waitpid(launch_->pid(), &status, WNOHANG); }

  // The pages stay mapped here after their files are gone.
  void judge_ledger(const std::string& camera) {
    const auto own = MetricsReader::open(*domain_, "auditor");
    std::vector<const MetricsReader*> pages;
    for (const auto& [name, victim] : victims_) {
      if (victim.page) pages.push_back(victim.page.get());
    }
    const std::vector<CameraChain> chains = follow_chains(pages);
    const auto own_chain = std::find_if(chains.begin(), chains.end(),
                                        [&](const auto& other) { return other.camera == camera; });
    if (own_chain == chains.end() || own_chain->stages.size() != 1 + kStages.size()) {
      return wrong(camera + ": its pages tell of no whole chain");
    }
    std::vector<StageCounts> chain = read_chain(*own_chain);
    std::vector<std::string> names;
    for (const ChainStage& stage : own_chain->stages) names.push_back(stage.page->node());
    if (own) chain.push_back(read_stage(**own, camera));
    names.push_back("auditor");
    for (std::size_t i = 0; i < chain.size(); ++i) {
      const StageCounts& stage = chain[i];
      if (stage.in != stage.out + stage.dropped()) {
        wrong(fmt::format("{} in {}: {} in, but {} out and {} dropped", camera, names[i], stage.in,
                          stage.out, stage.dropped()));
      }
    }
    for (const char* witness : {"witness0", "witness1"}) {
      const StageCounts stage = read_stage(*victims_[witness].page, camera);
      if (stage.in != stage.out + stage.dropped())
        wrong(fmt::format("{} in {} does not add up", camera, witness));
    }
    const FrameAccount account = fovea::account(chain, true);
    CameraFate& fate = report_.cameras[camera];
    fate.captured = account.captured;
    fate.received = auditor_->received(camera);
    if (!account.balanced()) {
      wrong(fmt::format("{}: captured {}, received {}, dropped {}, overcounted {}", camera,
                        account.captured, account.delivered, account.dropped(),
                        account.overcounted));
    }
    if (account.delivered != fate.received || auditor_->repeated(camera) > 0) {
      wrong(fmt::format("{}: the ledger says {} frames came out; {} different ones did, {} twice",
                        camera, account.delivered, fate.received, auditor_->repeated(camera)));
    }
  }

  // What the product itself says at the end.
  void judge_report(const std::string& path) {
    std::ifstream file(path);
    const auto report = nlohmann::json::parse(file, nullptr, false);
    if (!report.is_object() || !report.contains("cameras")) return wrong("there is no report");
    for (auto& [name, fate] : report_.nodes) {
      fate.restarts = report["restarts"].value(name, std::uint64_t{0});
      if (fate.restarts != fate.kills + fate.hangs) {
        wrong(fmt::format("{}: {} restarts after {} kills", name, fate.restarts,
                          fate.kills + fate.hangs));
      }
    }
    for (const auto& [name, camera] : report["cameras"].items()) {
      CameraFate& fate = report_.cameras[name];
      fate.delivered = camera["delivered"];
      std::uint64_t dropped = 0;
      for (const auto& [reason, count] : camera["drops"].items()) {
        fate.drops[reason] = count;
        dropped += count.get<std::uint64_t>();
      }
      for (const auto& [node, gap] : camera["restart_gaps"].items()) {
        fate.gaps += gap["count"].get<std::uint64_t>();
        fate.gap_frames += gap["frames"].get<std::uint64_t>();
        fate.gap_seconds += gap["seconds"].get<double>();
      }
      if (camera["captured"] != fate.delivered + dropped || camera["captured"] != fate.captured)
        wrong(fmt::format("{}: the report does not add up: {}", name, camera.dump()));
      if (fate.gap_frames > fate.drops["lost"])
        wrong(fmt::format("{}: more frames in gaps than lost", name));
    }
  }

  void judge_leftovers() {
    for (const char* folder : {"shm", "run"}) {
      for (const auto& entry :
           std::filesystem::recursive_directory_iterator(domain_.root() / folder)) {
        if (!entry.is_directory()) wrong("left behind: " + entry.path().native());
      }
    }
  }

  const ChaosOptions options_;
  std::mt19937_64 random_;
  test::TestDomain domain_;
  std::unique_ptr<Auditor> auditor_;
  std::unique_ptr<SlotWatch> watch_;
  std::unique_ptr<test::Child> launch_;
  std::map<std::string, Victim> victims_;
  std::int64_t next_look_ns_ = 0;
  bool gave_up_ = false;
  ChaosReport report_;
};

}  // namespace

ChaosReport run_chaos(const ChaosOptions& options) { return Chaos(options).run(); }

}  // namespace fovea::bench
