// The smallest node, with a fault for every test: node_test.cpp runs it as a process.
#include <chrono>
#include <filesystem>
#include <stdexcept>
#include <thread>

#include "nodes/runtime/log.hpp"
#include "nodes/runtime/process/node.hpp"

namespace fovea {
namespace {

class TrivialNode : public Node {
 public:
  TrivialNode() : Node("trivial", "Counts ticks") {}

  void declare_parameters(ParameterSet& parameters) override {
    parameters.add("period_ms", &period_ms_, "Time between ticks", Range{1, 1000}, "ms");
    parameters.add("label", &label_, "Label of the counter");
    parameters.add("quick", &quick_, "Count twice as fast");
    parameters.add("fail_in", &fail_in_, "Where to fail")
        .one_of({"nowhere", "configure", "configure_throw", "activate", "deactivate",
                 "deactivate_cut_short", "tick", "tick_throw", "parameters"});
    parameters.add("wait_for", &wait_for_, "File that on_configure() waits for");
    parameters.add("weights", &weights_, "Weights by name", Range{0, 1});
  }

  Result<> check_parameters() const override {
    if (fail_in_ != "parameters") return {};
    return fail(ErrorCode::kInvalidArgument, "label and period_ms do not go together");
  }

  Result<> on_configure() override {
    ticks_ = &metrics().counter("ticks", "", label_);
    if (!wait_for_.empty()) set_status(msgs::DiagnosticLevel::kOk, "waiting");
    while (!wait_for_.empty() && !std::filesystem::exists(wait_for_)) {
      beat();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (fail_in_ == "configure_throw") throw std::runtime_error("thrown in configure");
    if (fail_in_ == "configure") return fail(ErrorCode::kNotFound, "/dev/nothing: no such camera");
    return {};
  }

  Result<> on_activate() override {
    if (fail_in_ == "activate") return fail(ErrorCode::kUnavailable, "cannot activate");
    timer_ = executor().add_timer(
        std::chrono::milliseconds(quick_ ? period_ms_ / 2 + 1 : period_ms_), [this] {
          if (fail_in_ == "tick") request_shutdown(1);
          if (fail_in_ == "tick_throw") throw std::runtime_error("thrown in a tick");
          ticks_->fetch_add(1);
        });
    return {};
  }

  Result<> on_deactivate() override {
    executor().remove(timer_);
    if (fail_in_ == "deactivate") return fail(ErrorCode::kInternal, "cannot deactivate");
    if (fail_in_ == "deactivate_cut_short") return fail(ErrorCode::kUnavailable, "cut short");
    return {};
  }

 private:
  std::int64_t period_ms_ = 5;
  std::string label_ = "none";
  bool quick_ = false;
  std::string fail_in_ = "nowhere";
  std::string wait_for_;
  std::map<std::string, double> weights_;
  Counter* ticks_ = nullptr;
  Executor::Id timer_ = 0;
};

}  // namespace

std::unique_ptr<Node> make_node() { return std::make_unique<TrivialNode>(); }

}  // namespace fovea
