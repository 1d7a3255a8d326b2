// Our own engine from a plan file, as the detector loads it; oneDNN is one of its providers.
#include <cstring>
#include <utility>

#include "bench/engine/contestant.hpp"
#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/plan.hpp"

namespace fovea::bench {
namespace {

using engine::TensorSpec;

struct AlignedDelete {
  void operator()(std::byte* memory) const { ::operator delete[](memory, std::align_val_t{64}); }
};
using AlignedMemory = std::unique_ptr<std::byte[], AlignedDelete>;
AlignedMemory allocate(std::size_t bytes) {
  return AlignedMemory(new (std::align_val_t{64}) std::byte[bytes]);
}

class OwnContestant final : public Contestant {
 public:
  static Result<std::unique_ptr<Contestant>> make(const Task& task) {
    auto contestant = std::make_unique<OwnContestant>();
    FOVEA_TRY(contestant->load(task));
    return contestant;
  }

  Result<> run() override {
    const engine::BatchItem item{input_.get(), outputs_};
    return context_->execute({&item, 1});
  }

  double magnitude() const override {
    double sum = 0;
    std::size_t count = 0;
    for (std::size_t i = 0; i < outputs_.size(); ++i) {
      const std::span values(static_cast<const float*>(outputs_[i]),
                             engine_->info().outputs[i].bytes / sizeof(float));
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
    input_ = allocate(input.bytes);
    std::memcpy(input_.get(), pixels.data(), input.bytes);
    for (const TensorSpec& output : engine_->info().outputs) {
      memory_.push_back(allocate(output.bytes));
      outputs_.push_back(memory_.back().get());
    }
    return {};
  }

  std::shared_ptr<const engine::Engine> engine_;
  std::unique_ptr<engine::ExecutionContext> context_;
  AlignedMemory input_;
  std::vector<AlignedMemory> memory_;
  std::vector<void*> outputs_;
};

}  // namespace
}  // namespace fovea::bench

int main(int argc, char** argv) {
  return fovea::bench::serve(argc, argv, fovea::bench::OwnContestant::make);
}
