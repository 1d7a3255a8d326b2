// ONNX Runtime as a rival, through its C interface, where CMake was told where it lies.
#include "bench/replay/rival_loop.hpp"

#ifdef FOVEA_WITH_ONNXRUNTIME
#include <array>
#include <utility>

#include <fmt/format.h>
#include <onnxruntime_c_api.h>
#endif

namespace fovea::bench {

#ifdef FOVEA_WITH_ONNXRUNTIME
namespace {

class OnnxRuntimeNetwork final : public RivalNetwork {
 public:
  OnnxRuntimeNetwork(std::size_t height, std::size_t width)
      : dims_{1, 3, static_cast<std::int64_t>(height), static_cast<std::int64_t>(width)} {}

  ~OnnxRuntimeNetwork() override {
    if (api_ == nullptr) return;
    release_outputs();
    if (memory_ != nullptr) api_->ReleaseMemoryInfo(memory_);
    if (session_ != nullptr) api_->ReleaseSession(session_);
    if (options_ != nullptr) api_->ReleaseSessionOptions(options_);
    if (environment_ != nullptr) api_->ReleaseEnv(environment_);
  }

  Result<> load(const std::string& file, int threads) {
    api_ = OrtGetApiBase()->GetApi(ORT_API_VERSION);
    if (api_ == nullptr)
      return fail(ErrorCode::kUnsupported, "ONNX Runtime is older than its header");
    FOVEA_TRY(check(api_->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "bench", &environment_)));
    FOVEA_TRY(check(api_->CreateSessionOptions(&options_)));
    FOVEA_TRY(check(api_->SetIntraOpNumThreads(options_, threads)));
    FOVEA_TRY(check(api_->SetSessionGraphOptimizationLevel(options_, ORT_ENABLE_ALL)));
    FOVEA_TRY(check(api_->CreateSession(environment_, file.c_str(), options_, &session_)));
    FOVEA_TRY(check(api_->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory_)));
    OrtAllocator* allocator = nullptr;
    FOVEA_TRY(check(api_->GetAllocatorWithDefaultOptions(&allocator)));
    std::size_t count = 0;
    FOVEA_TRY(check(api_->SessionGetOutputCount(session_, &count)));
    char* name = nullptr;
    FOVEA_TRY(check(api_->SessionGetInputName(session_, 0, allocator, &name)));
    FOVEA_TRY(keep(name, input_, allocator));
    names_.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      FOVEA_TRY(check(api_->SessionGetOutputName(session_, i, allocator, &name)));
      FOVEA_TRY(keep(name, names_[i], allocator));
    }
    outputs_.resize(count);
    return {};
  }

  Result<std::vector<RawMap>> run(const std::vector<float>& planes) override {
    release_outputs();
    OrtValue* input = nullptr;
    FOVEA_TRY(check(api_->CreateTensorWithDataAsOrtValue(
        memory_, const_cast<float*>(planes.data()), planes.size() * sizeof(float), dims_.data(),
        dims_.size(), ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &input)));
    const char* input_name = input_.c_str();
    std::vector<const char*> output_names;
    for (const std::string& name : names_) output_names.push_back(name.c_str());
    const auto ran = check(api_->Run(session_, nullptr, &input_name, &input, 1, output_names.data(),
                                     output_names.size(), outputs_.data()));
    api_->ReleaseValue(input);
    FOVEA_TRY(ran);
    std::vector<RawMap> maps;
    for (OrtValue* output : outputs_) {
      OrtTensorTypeAndShapeInfo* shape = nullptr;
      FOVEA_TRY(check(api_->GetTensorTypeAndShape(output, &shape)));
      std::array<std::int64_t, 4> dims{};
      const auto read = check(api_->GetDimensions(shape, dims.data(), dims.size()));
      api_->ReleaseTensorTypeAndShapeInfo(shape);
      FOVEA_TRY(read);
      void* data = nullptr;
      FOVEA_TRY(check(api_->GetTensorMutableData(output, &data)));
      maps.push_back({static_cast<std::size_t>(dims[1]), static_cast<std::size_t>(dims[2]),
                      static_cast<std::size_t>(dims[3]), static_cast<const float*>(data)});
    }
    return maps;
  }

 private:
  Result<> check(OrtStatus* status) const {
    if (status == nullptr) return {};
    std::string message = fmt::format("ONNX Runtime: {}", api_->GetErrorMessage(status));
    api_->ReleaseStatus(status);
    return fail(ErrorCode::kInternal, std::move(message));
  }
  Result<> keep(char* name, std::string& to, OrtAllocator* allocator) const {
    to = name;
    return check(api_->AllocatorFree(allocator, name));
  }
  void release_outputs() {
    for (OrtValue*& output : outputs_) {
      if (output != nullptr) api_->ReleaseValue(std::exchange(output, nullptr));
    }
  }

  const OrtApi* api_ = nullptr;
  OrtEnv* environment_ = nullptr;
  OrtSessionOptions* options_ = nullptr;
  OrtSession* session_ = nullptr;
  OrtMemoryInfo* memory_ = nullptr;
  std::array<std::int64_t, 4> dims_;
  std::string input_;
  std::vector<std::string> names_;
  std::vector<OrtValue*> outputs_;
};

}  // namespace

Result<std::unique_ptr<RivalNetwork>> make_onnxruntime_network(const std::string& file, int threads,
                                                               std::size_t height,
                                                               std::size_t width) {
  auto network = std::make_unique<OnnxRuntimeNetwork>(height, width);
  FOVEA_TRY(network->load(file, threads));
  return network;
}

#else

Result<std::unique_ptr<RivalNetwork>> make_onnxruntime_network(const std::string&, int, std::size_t,
                                                               std::size_t) {
  return fail(ErrorCode::kUnsupported,
              "not built in; configure with -DFOVEA_ORT_ROOT=FOLDER of ONNX Runtime");
}

#endif

}  // namespace fovea::bench
