// Our own engine from a plan file, as the detector loads it; oneDNN is one of its providers.
#include <cstring>
#include <optional>
#include <span>
#include <utility>

#include "bench/engine/contestant.hpp"
#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/plan/plan.hpp"

namespace fovea::bench {
namespace {

using engine::TensorSpec;

class OwnContestant final : public Contestant {
 public:
  static Result<std::unique_ptr<Contestant>> make(const Task& task) {
    auto contestant = std::make_unique<OwnContestant>();
    FOVEA_TRY(contestant->load(task));
    return contestant;
  }

  Result<> run() override {
    return context_->execute(bindings_->batch());
  }

  double magnitude() const override {
    double sum = 0;
    std::size_t count = 0;
    for (std::size_t i = 0; i < engine_->info().outputs.size(); ++i) {
      const std::span<std::byte> output = bindings_->output(i);
      const std::span values(reinterpret_cast<const float*>(output.data()),
                             output.size() / sizeof(float));
      sum += magnitude_of(values);
      count += values.size();
    }
    return sum / static_cast<double>(count);
  }

 private:
  Result<> load(const Task& task) {
    {
      FOVEA_ASSIGN(engine::Plan plan, engine::read_plan(task.model));
      plan.threads = task.threads;
      FOVEA_ASSIGN(engine_, engine::load_engine(plan));
    }
    FOVEA_ASSIGN(context_, engine_->create_execution_context());
    const TensorSpec& input = engine_->info().input;
    const auto pixels = picture(task.height, task.width);
    if (pixels.size() != input.bytes) {
      return fail(ErrorCode::kInvalidArgument, task.model + ": the plan is for another size");
    }
    FOVEA_ASSIGN(bindings_, engine_->make_bindings());
    std::memcpy(bindings_->input().data(), pixels.data(), input.bytes);
    return {};
  }

  std::shared_ptr<const engine::Engine> engine_;
  std::unique_ptr<engine::ExecutionContext> context_;
  std::optional<engine::Bindings> bindings_;
};

}  // namespace
}  // namespace fovea::bench

int main(int argc, char** argv) {
  return fovea::bench::serve(argc, argv, fovea::bench::OwnContestant::make);
}
