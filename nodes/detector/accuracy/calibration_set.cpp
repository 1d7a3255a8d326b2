#include "nodes/detector/accuracy/calibration_set.hpp"

#include <set>
#include <utility>

#include <fmt/core.h>

#include "nodes/base/file_io.hpp"
#include "nodes/base/trusted_folder.hpp"
#include "nodes/detector/accuracy/labelled_set.hpp"
#include "nodes/detector/engine/plan/sha256.hpp"
#include "nodes/detector/engine/provider.hpp"

namespace fovea {

namespace {

namespace fs = std::filesystem;

Result<engine::CalibrationTable> read_table(const fs::path& file, const engine::Plan& fp32) {
  FOVEA_ASSIGN(const auto bytes, read_file(file.string()));
  auto table =
      engine::calibration_from_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (!table) return fail(table.error().with_context(file.string()));
  if (table->model_hash != fp32.model_hash) {
    return fail(ErrorCode::kCorrupt, file.string() + ": it was made for another model");
  }
  return table;
}

// At most `most` pictures of the folder, spread evenly.
Result<std::vector<std::string>> chosen_pictures(const CalibrationRequest& request) {
  FOVEA_ASSIGN(const auto all, list_pictures(request.folder));
  if (all.size() < engine::kLeastCalibrationPictures) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{}: {} pictures; calibration needs at least {}, better {} or more from "
                    "where the detector will run",
                    request.folder.string(), all.size(), engine::kLeastCalibrationPictures,
                    engine::kEnoughCalibrationPictures));
  }
  std::vector<std::string> chosen;
  const std::size_t count = std::min(all.size(), request.most_pictures);
  for (std::size_t i = 0; i < count; ++i) chosen.push_back(all[i * all.size() / count]);
  return chosen;
}

// Copies of a picture teach no more than the picture does.
Result<> check_distinct(const CalibrationRequest& request, std::size_t pictures,
                        std::size_t distinct) {
  if (distinct >= engine::kLeastCalibrationPictures) return {};
  return fail(
      ErrorCode::kInvalidArgument,
      fmt::format("{}: {} pictures, but only {} distinct; calibration needs at least {} distinct "
                  "ones, better {} or more from where the detector will run",
                  request.folder.string(), pictures, distinct, engine::kLeastCalibrationPictures,
                  engine::kEnoughCalibrationPictures));
}

std::string hash_of(std::span<const std::byte> bytes) {
  engine::Sha256 hash;
  hash.add(bytes);
  return hash.finish();
}

// Of everything that shapes the table. `distinct` is how many of the files differ.
Result<std::string> identity_of(const std::vector<std::string>& pictures,
                                const CalibrationRequest& request, const engine::Plan& fp32,
                                const std::string& preprocessing, std::size_t& distinct) {
  std::set<std::string> contents;
  engine::Sha256 hash;
  hash.add(fmt::format("{}\n{}\n{}\nplan {}\n", fp32.model_hash, preprocessing, request.percentile,
                       engine::kPlanVersion));
  for (const std::string& picture : pictures) {
    FOVEA_ASSIGN(const auto bytes, read_file(picture));
    hash.add(fmt::format("{}\n", bytes.size()));
    hash.add(bytes);
    contents.insert(hash_of(bytes));
  }
  distinct = contents.size();
  return hash.finish();
}

}  // namespace

Result<Calibrated> calibrate_from(const CalibrationRequest& request, const engine::Plan& fp32,
                                  const PictureReader& reader, const engine::Progress& progress) {
  if (request.folder.empty()) {
    if (request.cache.empty()) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("int8 needs a folder with at least {} calibration pictures, or a "
                              "calibration table made from them",
                              engine::kLeastCalibrationPictures));
    }
    FOVEA_ASSIGN(auto table, read_table(request.cache, fp32));
    return Calibrated{std::move(table), true, {}, {}};
  }
  FOVEA_ASSIGN(const auto pictures, chosen_pictures(request));
  FOVEA_ASSIGN(const auto info, engine::describe_engine(fp32.network, fp32.provider, {}));
  FOVEA_ASSIGN(Letterbox letterbox, letterbox_for(info));
  std::size_t distinct = 0;
  FOVEA_ASSIGN(const std::string identity,
               identity_of(pictures, request, fp32, letterbox.parameters(), distinct));
  FOVEA_TRY(check_distinct(request, pictures.size(), distinct));
  Calibrated result;
  std::error_code error;
  if (!request.cache.empty() && fs::exists(request.cache, error)) {
    auto table = read_table(request.cache, fp32);
    if (table && table->identity == identity) {
      return Calibrated{std::move(*table), true, {}, {}};
    }
    result.replaced = table ? request.cache.string() + ": made from other pictures or options"
                            : table.error().message;
  }
  if (request.must_keep) {
    fs::create_directories(request.cache.parent_path(), error);  // the check says what is wrong
    FOVEA_TRY(check_writable(request.cache));
  }
  std::set<std::string> tensors;  // what the network saw: files may differ in no pixel
  const auto source = [&](std::size_t index, std::span<std::byte> tensor) -> Result<> {
    const auto picture = reader(pictures[index]);
    if (!picture && picture.error().code == ErrorCode::kCorrupt) {
      return fail(
          ErrorCode::kCorrupt,
          picture.error().message + "; take it out of the folder, or calibrate with another");
    }
    if (!picture) return fail(picture.error());
    if (auto done = letterbox.run(view_of(*picture), tensor); !done) {
      return fail(done.error().with_context(pictures[index]));
    }
    tensors.insert(hash_of(tensor));
    return {};
  };
  FOVEA_ASSIGN(result.table, engine::calibrate(fp32.network, pictures.size(), source,
                                               {.provider = fp32.provider,
                                                .threads = request.threads,
                                                .percentile = request.percentile,
                                                .model_hash = fp32.model_hash,
                                                .identity = identity},
                                               progress));
  FOVEA_TRY(check_distinct(request, pictures.size(), tensors.size()));
  if (tensors.size() < engine::kEnoughCalibrationPictures || tensors.size() < pictures.size()) {
    const std::string copies = tensors.size() < pictures.size()
                                   ? fmt::format(", {} of them distinct", tensors.size())
                                   : "";
    result.note = fmt::format("{} calibration pictures{}; {} or more are better", pictures.size(),
                              copies, engine::kEnoughCalibrationPictures);
  }
  if (!request.cache.empty()) {
    const auto write = [&]() -> Result<> {
      FOVEA_TRY(make_folders(request.cache.parent_path()));
      return write_file(request.cache, engine::to_json(result.table));
    };
    if (auto written = write(); !written) {
      result.note += (result.note.empty() ? "" : "; ") +
                     ("the calibration table is not kept: " + written.error().message);
    }
  }
  return result;
}

}  // namespace fovea
