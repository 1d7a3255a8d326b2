// ONNX Runtime in f32 on the CPU, through its C interface, everything that it optimises switched
// on.
#include <array>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <onnxruntime_c_api.h>

#include "bench/engine/contestant.hpp"

namespace fovea::bench {
namespace {

class OnnxRuntimeContestant final : public Contestant {
 public:
  static Result<std::unique_ptr<Contestant>> make(const Task& task) {
    auto contestant = std::make_unique<OnnxRuntimeContestant>();
    FOVEA_TRY(contestant->load(task));
    return contestant;
  }

  ~OnnxRuntimeContestant() override {
    if (api_ == nullptr) return;
    release_outputs();
    api_->ReleaseValue(input_);
    api_->ReleaseSession(session_);
    api_->ReleaseSessionOptions(options_);
    api_->ReleaseEnv(environment_);
  }

  Result<> run() override {
    release_outputs();
    const char* input_name = input_name_.c_str();
    return check(api_->Run(session_, nullptr, &input_name, &input_, 1, output_names_.data(),
                           output_names_.size(), outputs_.data()));
  }

  double magnitude() const override {
    double sum = 0;
    std::size_t count = 0;
    for (OrtValue* output : outputs_) {
      OrtTensorTypeAndShapeInfo* shape = nullptr;
      void* data = nullptr;
      std::size_t size = 0;
      require(api_->GetTensorTypeAndShape(output, &shape));
      require(api_->GetTensorShapeElementCount(shape, &size));
      api_->ReleaseTensorTypeAndShapeInfo(shape);
      require(api_->GetTensorMutableData(output, &data));
      sum += magnitude_of({static_cast<const float*>(data), size});
      count += size;
    }
    return sum / static_cast<double>(count);
  }

 private:
  Result<> check(OrtStatus* status) const {
    if (status == nullptr) return {};
    std::string message = fmt::format("ONNX Runtime: {}", api_->GetErrorMessage(status));
    api_->ReleaseStatus(status);
    return fail(ErrorCode::kInternal, std::move(message));
  }
  void require(OrtStatus* status) const {
    if (auto done = check(status); !done) throw std::runtime_error(done.error().message);
  }

  void release_outputs() {
    for (OrtValue*& output : outputs_) api_->ReleaseValue(std::exchange(output, nullptr));
  }

  Result<> load(const Task& task) {
    const OrtApiBase* base = OrtGetApiBase();
    api_ = base->GetApi(ORT_API_VERSION);
    if (api_ == nullptr) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("ONNX Runtime {} is older than its header, version {}",
                              base->GetVersionString(), ORT_API_VERSION));
    }
    FOVEA_TRY(check(api_->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "bench", &environment_)));
    FOVEA_TRY(check(api_->CreateSessionOptions(&options_)));
    FOVEA_TRY(check(api_->SetIntraOpNumThreads(options_, task.threads)));
    FOVEA_TRY(check(api_->SetInterOpNumThreads(options_, 1)));
    FOVEA_TRY(check(api_->SetSessionGraphOptimizationLevel(options_, ORT_ENABLE_ALL)));
    FOVEA_TRY(check(api_->CreateSession(environment_, task.model.c_str(), options_, &session_)));
    FOVEA_TRY(name_ports());
    return make_input(task);
  }

  Result<> name_ports() {
    OrtAllocator* allocator = nullptr;
    FOVEA_TRY(check(api_->GetAllocatorWithDefaultOptions(&allocator)));
    char* name = nullptr;
    FOVEA_TRY(check(api_->SessionGetInputName(session_, 0, allocator, &name)));
    input_name_ = name;
    FOVEA_TRY(check(api_->AllocatorFree(allocator, name)));
    std::size_t count = 0;
    FOVEA_TRY(check(api_->SessionGetOutputCount(session_, &count)));
    names_.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      FOVEA_TRY(check(api_->SessionGetOutputName(session_, i, allocator, &name)));
      names_[i] = name;
      FOVEA_TRY(check(api_->AllocatorFree(allocator, name)));
    }
    for (const std::string& each : names_) output_names_.push_back(each.c_str());
    outputs_.resize(count);
    return {};
  }

  Result<> make_input(const Task& task) {
    planes_ = planes(task.height, task.width);
    const std::array<std::int64_t, 4> dims = {1, 3, static_cast<std::int64_t>(task.height),
                                              static_cast<std::int64_t>(task.width)};
    OrtMemoryInfo* memory = nullptr;
    FOVEA_TRY(check(api_->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory)));
    OrtStatus* made = api_->CreateTensorWithDataAsOrtValue(
        memory, planes_.data(), planes_.size() * sizeof(float), dims.data(), dims.size(),
        ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &input_);
    api_->ReleaseMemoryInfo(memory);
    return check(made);
  }

  const OrtApi* api_ = nullptr;
  OrtEnv* environment_ = nullptr;
  OrtSessionOptions* options_ = nullptr;
  OrtSession* session_ = nullptr;
  std::string input_name_;
  std::vector<std::string> names_;
  std::vector<const char*> output_names_;
  std::vector<float> planes_;
  OrtValue* input_ = nullptr;
  std::vector<OrtValue*> outputs_;
};

}  // namespace
}  // namespace fovea::bench

int main(int argc, char** argv) {
  return fovea::bench::serve(argc, argv, fovea::bench::OnnxRuntimeContestant::make);
}
