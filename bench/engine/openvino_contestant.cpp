// OpenVINO on the CPU for one request at a time, through its C interface. The library is found at
// run time: FOVEA_OPENVINO_ROOT names the folder with libopenvino_c.so*, a Python environment with
// the wheel `openvino`, or that package's folder.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <dlfcn.h>
#include <fmt/format.h>

#include "bench/engine/contestant.hpp"
#include "nodes/base/terminal.hpp"

namespace fovea::bench {
namespace {

namespace fs = std::filesystem;

// What is used of openvino/c/openvino.h. Statuses are 0 or an error.
struct OvShape {
  std::int64_t rank;
  std::int64_t* dims;
};
constexpr int kOvFloat32 = 4;  // ov_element_type_e
struct OvApi {
  int (*core_create)(void** core);
  int (*core_set_property)(const void* core, const char* device, ...);
  int (*core_read_model)(const void* core, const char* model, const char* weights, void** result);
  int (*core_compile_model)(const void* core, const void* model, const char* device,
                            std::size_t properties, void** compiled, ...);
  int (*create_request)(const void* compiled, void** request);
  int (*outputs_size)(const void* compiled, std::size_t* count);
  int (*tensor_from_host)(int type, OvShape shape, void* data, void** tensor);
  int (*set_input)(void* request, const void* tensor);
  int (*infer)(void* request);
  int (*output)(const void* request, std::size_t index, void** tensor);
  int (*tensor_data)(const void* tensor, void** data);
  int (*tensor_size)(const void* tensor, std::size_t* elements);
  int (*tensor_type)(const void* tensor, int* type);
  void (*tensor_free)(void* tensor);
  const char* (*last_error)();
};

constexpr const char* kRoot = "FOVEA_OPENVINO_ROOT";

Result<fs::path> library_file() {
  const char* root = std::getenv(kRoot);  // NOLINT(concurrency-mt-unsafe): one thread
  if (root == nullptr || *root == '\0') {
    return fail(ErrorCode::kUnavailable, fmt::format("{} does not name OpenVINO's folder", kRoot));
  }
  std::vector<fs::path> places = {root, fs::path(root) / "libs", fs::path(root) / "lib"};
  std::error_code error;
  for (fs::directory_iterator entry(fs::path(root) / "lib", error), end; !error && entry != end;
       entry.increment(error)) {
    places.push_back(entry->path() / "site-packages" / "openvino" / "libs");
  }
  for (const fs::path& place : places) {
    for (fs::directory_iterator entry(place, error), end; !error && entry != end;
         entry.increment(error)) {
      if (entry->path().filename().string().starts_with("libopenvino_c.so")) return entry->path();
    }
    error.clear();
  }
  return fail(ErrorCode::kUnavailable,
              fmt::format("{}={}: no libopenvino_c.so below it", kRoot, root));
}

Result<OvApi> load_api() {
  FOVEA_ASSIGN(const fs::path file, library_file());
  void* library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return fail(ErrorCode::kUnavailable, ::dlerror());
  OvApi api{};
  std::string missing;
  const auto find = [&](auto& function, const char* name) {
    void* symbol = ::dlsym(library, name);
    if (symbol == nullptr) missing = name;
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(symbol);
  };
  find(api.core_create, "ov_core_create");
  find(api.core_set_property, "ov_core_set_property");
  find(api.core_read_model, "ov_core_read_model");
  find(api.core_compile_model, "ov_core_compile_model");
  find(api.create_request, "ov_compiled_model_create_infer_request");
  find(api.outputs_size, "ov_compiled_model_outputs_size");
  find(api.tensor_from_host, "ov_tensor_create_from_host_ptr");
  find(api.set_input, "ov_infer_request_set_input_tensor");
  find(api.infer, "ov_infer_request_infer");
  find(api.output, "ov_infer_request_get_output_tensor_by_index");
  find(api.tensor_data, "ov_tensor_data");
  find(api.tensor_size, "ov_tensor_get_size");
  find(api.tensor_type, "ov_tensor_get_element_type");
  find(api.tensor_free, "ov_tensor_free");
  find(api.last_error, "ov_get_last_err_msg");
  if (!missing.empty()) {
    return fail(ErrorCode::kUnavailable, fmt::format("{}: has no {}", file.string(), missing));
  }
  return api;
}

class OpenvinoContestant final : public Contestant {
 public:
  static Result<std::unique_ptr<Contestant>> make(const Task& task) {
    auto contestant = std::make_unique<OpenvinoContestant>();
    FOVEA_ASSIGN(contestant->api_, load_api());
    FOVEA_TRY(contestant->load(task));
    return contestant;
  }

  Result<> run() override { return check(api_.infer(request_), "infer"); }

  double magnitude() const override {
    double sum = 0;
    std::size_t count = 0;
    for (std::size_t i = 0; i < outputs_; ++i) {
      void* tensor = nullptr;
      void* data = nullptr;
      std::size_t size = 0;
      int type = 0;
      if (api_.output(request_, i, &tensor) != 0) continue;
      if (api_.tensor_type(tensor, &type) == 0 && type == kOvFloat32 &&
          api_.tensor_data(tensor, &data) == 0 && api_.tensor_size(tensor, &size) == 0) {
        sum += magnitude_of({static_cast<const float*>(data), size});
        count += size;
      }
      api_.tensor_free(tensor);
    }
    return sum / static_cast<double>(count);
  }

 private:
  Result<> check(int status, const char* what) const {
    if (status == 0) return {};
    return fail(ErrorCode::kInternal,
                fmt::format("OpenVINO, {}: {} ({})", what, api_.last_error(), status));
  }

  // The objects live as long as the process.
  Result<> load(const Task& task) {
    void* core = nullptr;
    FOVEA_TRY(check(api_.core_create(&core), "core"));
    const std::string threads = std::to_string(task.threads);
    const std::pair<const char*, const char*> properties[] = {
        {"INFERENCE_NUM_THREADS", threads.c_str()},
        {"PERFORMANCE_HINT", "LATENCY"},
        {"INFERENCE_PRECISION_HINT", task.precision.c_str()}};
    for (const auto& [key, value] : properties) {
      FOVEA_TRY(check(api_.core_set_property(core, "CPU", key, value), key));
    }
    void* model = nullptr;
    FOVEA_TRY(check(api_.core_read_model(core, task.model.c_str(), nullptr, &model), "read"));
    void* compiled = nullptr;
    FOVEA_TRY(
        check(api_.core_compile_model(core, model, "CPU", std::size_t{0}, &compiled), "compile"));
    FOVEA_TRY(check(api_.create_request(compiled, &request_), "request"));
    FOVEA_TRY(check(api_.outputs_size(compiled, &outputs_), "outputs"));
    planes_ = planes(task.height, task.width);
    std::int64_t dims[] = {1, 3, static_cast<std::int64_t>(task.height),
                           static_cast<std::int64_t>(task.width)};
    void* input = nullptr;
    FOVEA_TRY(
        check(api_.tensor_from_host(kOvFloat32, {4, dims}, planes_.data(), &input), "tensor"));
    return check(api_.set_input(request_, input), "input");
  }

  OvApi api_{};
  void* request_ = nullptr;
  std::size_t outputs_ = 0;
  std::vector<float> planes_;
};

}  // namespace
}  // namespace fovea::bench

int main(int argc, char** argv) {
  // Asked for its availability, or to take part.
  if (argc == 2 && std::string_view(argv[1]) == "--available") {
    const auto api = fovea::bench::load_api();
    if (!api) fovea::print_error("{}", api.error().message);
    return api ? 0 : 1;
  }
  return fovea::bench::serve(argc, argv, fovea::bench::OpenvinoContestant::make);
}
