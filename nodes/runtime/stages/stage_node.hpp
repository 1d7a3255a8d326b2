// Base of a process that is one stage of the pipeline. A subclass gives its StageSpec, its own
// parameters and a Stage for each camera; topics, slots, ledger, stamps, faults, life cycle and the
// parameters `cameras`, `slots` and `reliability` are here.
//
//   class BlurNode final : public StageNode<msgs::Image, msgs::Image> {
//    public:
//     BlurNode() : StageNode("blur", "Hides faces", {.input = "image", .output = "blurred"}) {}
//     Result<std::unique_ptr<Stage>> make_stage(const std::string&) override {
//       return std::make_unique<BlurStage>();
//     }
//   };
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nodes/base/stage.hpp"
#include "nodes/runtime/process/node.hpp"
#include "nodes/runtime/stages/cameras.hpp"
#include "nodes/runtime/stages/stage_set.hpp"

namespace fovea {

template <class In, class Out>
class StageNode : public Node {
 public:
  using Stage = fovea::Stage<In, Out>;

  void declare_parameters(ParameterSet& p) final {
    add_cameras(p, &cameras_);
    declare_stage_parameters(p);
    if constexpr (detail::HasPayload<Out>) {
      p.add("slots", &slots_, "Shared-memory slots per camera", Range{2, 64});
    }
    add_reliability(p, &reliability_);
  }

  Result<> on_configure() final {
    FOVEA_TRY(configure());
    auto stages = std::make_unique<StageSet<In, Out>>(
        StageHost{domain(), metrics(), executor(),
                  [this](msgs::DiagnosticLevel level, std::string_view text) {
                    Node::set_status(level, text);
                  }},
        spec_, StageOptions{.reliability = reliability_, .slots = slots_});
    stages_ = std::move(stages);
    for (const std::string& camera : cameras_) {
      if (auto added = add_camera(camera); !added) {
        FOVEA_TRY(on_cleanup());
        return added;
      }
    }
    return {};
  }

  Result<> on_activate() final {
    stages_->activate();
    return activate();
  }

  Result<> on_deactivate() final {
    deactivate();
    stages_->deactivate();
    return {};
  }

  Result<> on_cleanup() final {
    stages_.reset();
    cleanup();
    return {};
  }

 protected:
  StageNode(std::string_view type, std::string_view description, StageSpec spec)
      : Node(type, description), spec_(std::move(spec)) {}

  // Between `cameras` and those of every stage.
  virtual void declare_stage_parameters(ParameterSet& /*parameters*/) {}
  // Acquires what the stages share, as a whole or not at all; comes before the
  // first make_stage().
  virtual Result<> configure() { return {}; }
  virtual Result<std::unique_ptr<Stage>> make_stage(const std::string& camera) = 0;
  // Whoever reads when ready (StageSpec) calls stages().set_ready() from here on, once it is.
  virtual Result<> activate() { return {}; }
  virtual void deactivate() {}
  // Releases what configure() acquired; the stages are gone.
  virtual void cleanup() {}

  // While configured. The executor's thread.
  Result<> add_camera(const std::string& camera) {
    FOVEA_ASSIGN(auto stage, make_stage(camera));
    return stages_->add_camera(camera, std::move(stage));
  }
  bool remove_camera(std::string_view camera) { return stages_->remove_camera(camera); }

  StageSet<In, Out>& stages() { return *stages_; }
  Reliability reliability() const { return reliability_; }
  // In place of Node's, so that a camera's faults are shown over it.
  void set_status(msgs::DiagnosticLevel level, std::string_view text) {
    stages_->set_status(level, text);
  }

 private:
  StageSpec spec_;
  std::vector<std::string> cameras_;
  std::uint32_t slots_ = 4;
  Reliability reliability_ = Reliability::kBestEffort;
  std::unique_ptr<StageSet<In, Out>> stages_;  // null unless configured
};

}  // namespace fovea
