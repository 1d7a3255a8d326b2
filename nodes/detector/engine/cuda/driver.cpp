#include "nodes/detector/engine/cuda/driver.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

namespace fovea::engine::cuda {

namespace {

constexpr const char* kLibrary = "libcuda.so.1";
constexpr int kOldestDriver = 12030;  // CUDA 12.3: edges of graphs that carry data

#define FOVEA_CUDA_TEXT(text) #text
#define FOVEA_CUDA_NAME(function) FOVEA_CUDA_TEXT(function)

Result<Driver> load() {
  void* library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return fail(ErrorCode::kUnavailable,
                fmt::format("no NVIDIA driver: {} is not where the loader looks", kLibrary));
  }
  Driver driver;
  std::string missing;
  const auto find = [&]<class F>(F& function, const char* name) {
    function = reinterpret_cast<F>(dlsym(library, name));
    if (function == nullptr && missing.empty()) missing = name;
  };
  // cuda.h renames functions to the version that its types belong to.
#define FOVEA_CUDA_FIND(member, function) find(driver.member, FOVEA_CUDA_NAME(function));
  FOVEA_CUDA_FUNCTIONS(FOVEA_CUDA_FIND)
#undef FOVEA_CUDA_FIND
  int version = 0;
  if (driver.driver_version != nullptr) (void)driver.driver_version(&version);
  if (!missing.empty() || version < kOldestDriver) {
    return fail(ErrorCode::kUnavailable,
                fmt::format("the NVIDIA driver is for CUDA {}.{}; 12.3 or later is needed{}{}",
                            version / 1000, version % 1000 / 10,
                            missing.empty() ? "" : ", it has no ", missing));
  }
  FOVEA_TRY(driver.check(driver.initialize(0), "cuInit"));
  int devices = 0;
  FOVEA_TRY(driver.check(driver.device_count(&devices), "counting GPUs"));
  if (devices == 0) return fail(ErrorCode::kUnavailable, "the NVIDIA driver shows no GPU");
  return driver;
}

}  // namespace

Result<> Driver::check(CUresult result, std::string_view what) const {
  if (result == CUDA_SUCCESS) return {};
  const char* name = nullptr;
  const char* text = nullptr;
  (void)error_name(result, &name);
  (void)error_text(result, &text);
  const auto code =
      result == CUDA_ERROR_OUT_OF_MEMORY ? ErrorCode::kExhausted : ErrorCode::kUnavailable;
  return fail(code, fmt::format("{}: {} ({})", what, text == nullptr ? "unknown error" : text,
                                name == nullptr ? fmt::to_string(static_cast<int>(result)) : name));
}

Result<const Driver*> find_driver() {
  static const Result<Driver> driver = load();
  if (!driver) return fail(driver.error());
  return &*driver;
}

}  // namespace fovea::engine::cuda
