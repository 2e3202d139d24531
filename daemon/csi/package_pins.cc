// SPDX-License-Identifier: MIT
#include "daemon/csi/package_pins.h"

#include <unistd.h>

#include <filesystem>
#include <thread>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/log.h"
#include "core/resolve/lock_file.h"
#include "core/source/reach.h"
#include "core/webc/parse_json.h"
#include "daemon/csi/refusal.h"
#include "daemon/volumes/volume_state.h"

namespace pkgfs::csi {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMostBytes = 64U << 20U;
/// CSI allows 4 KiB for the context of a volume.
constexpr std::size_t kMostContext = 4096;

std::size_t size_of(const StringMap& map) {
  std::size_t size = 0;
  for (const auto& [key, value] : map) {
    size += key.size() + value.size();
  }
  return size;
}

/// A private directory for one run, removed at the end of the scope.
class WorkDirectory {
 public:
  explicit WorkDirectory(std::string pattern) : path_(std::move(pattern)) {
    if (::mkdtemp(path_.data()) == nullptr) {
      throw system_error("Unable to create a directory like \"" + path_ + "\"", errno);
    }
  }
  ~WorkDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  WorkDirectory(const WorkDirectory&) = delete;
  WorkDirectory& operator=(const WorkDirectory&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Removes the directories of runs that were killed.
void clear_work_directories(const std::filesystem::path& state_file) {
  const std::string prefix = state_file.filename().string() + ".";
  std::error_code failed;
  std::vector<std::filesystem::path> found;
  for (std::filesystem::directory_iterator entry(state_file.parent_path(), failed), end; !failed && entry != end;
       entry.increment(failed)) {
    std::error_code unknown;
    if (entry->path().filename().string().starts_with(prefix) && entry->is_directory(unknown)) {
      found.push_back(entry->path());
    }
  }
  for (const std::filesystem::path& path : found) {
    std::filesystem::remove_all(path, failed);
  }
}

}  // namespace

PackagePins::PackagePins(std::string path, AttributePolicy policy, OwnProgram program, std::chrono::milliseconds wait)
    : path_(std::move(path)), policy_(std::move(policy)), program_(std::move(program)), wait_(wait) {
  clear_work_directories(path_);
  load();
}

void PackagePins::load() {
  const MutexLock lock(mutex_);
  const auto text = read_small_file(path_, kMostBytes);
  if (!text) {
    return;
  }
  try {
    for (const auto& [name, pin] : webc::parse_json(*text).at("volumes").items()) {
      pins_[name] = {pin.at("parameters").get<StringMap>(), pin.at("capacity").get<std::int64_t>(),
                     pin.at("context").get<StringMap>()};
    }
  } catch (const std::exception& error) {
    pins_.clear();
    const std::string aside = set_aside(path_);
    log::warn("\"{}\" is damaged, and was renamed to \"{}\": {}", path_, aside, error);
  }
}

void PackagePins::save() {
  Json volumes = Json::object();
  for (const auto& [name, pin] : pins_) {
    volumes[name] = {{"parameters", pin.parameters}, {"capacity", pin.capacity}, {"context", pin.context}};
  }
  const Json document{{"version", 1}, {"volumes", std::move(volumes)}};
  write_file_atomically(path_, document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n",
                        Durability::kSynced);
}

StringMap PackagePins::resolve(const StringMap& parameters, const StringMap& secrets) const {
  const VolumeRequest request = parse_attributes(parameters, secrets, policy_);
  const VolumeOptions options = parse_volume_options(request.options);
  StringMap context = parameters;
  if (options.is_path || options.lock || !request.lock_text.empty()) {
    return context;  // nothing is left to choose
  }
  const WorkDirectory directory(path_ + ".XXXXXX");
  const std::string lock = directory.path() + "/lock";
  CancelFlag cancel(&stopping_);
  std::thread timer([&] {
    if (!cancel.wait_for(wait_)) {
      cancel.cancel();
    }
  });
  CommandResult result;
  std::optional<Error> failed;
  const auto start = std::chrono::steady_clock::now();
  try {
    result = run_own_command(resolve_arguments(options, lock), directory.path(), IfWeDie::kEndsToo, cancel, program_,
                             request.variables);
  } catch (...) {
    failed = current_error();
  }
  cancel.cancel();
  timer.join();
  if (failed && failed->code() == ErrorCode::kInterrupted && std::chrono::steady_clock::now() - start >= wait_) {
    throw Error(ErrorCode::kBusy, "\"" + options.package + "\" isn't resolved yet; try again in a moment");
  }
  if (failed || result.report.error) {
    throw Error(failed ? *failed : *result.report.error);
  }
  const std::string text = read_small_file(lock, kMostBytes).value_or("");
  context["lock"] = text;
  if (size_of(context) > kMostContext) {
    context.erase("lock");
    const PackageSummary root = parse_lock(text).packages.front().summary;
    const std::string id = root.pkg.id.to_string();
    if (is_of_artifact(root.dist)) {
      context["package"] = *root.dist.registry;  // the name with the digest, so nothing is lost
      return context;
    }
    const std::size_t at = id.rfind('@');
    context["package"] = at == std::string::npos ? id : id.substr(0, at) + "@=" + id.substr(at + 1);
    log::info("the lock file of \"{}\" is too long for a volume; only the version of the package itself is kept", id);
  }
  return context;
}

PackagePins::Pin PackagePins::create(const std::string& name, const StringMap& parameters, const StringMap& secrets,
                                     std::int64_t capacity, std::int64_t limit) {
  const auto find = [&]() PKGFS_REQUIRES(mutex_) -> const Pin* {
    const auto found = pins_.find(name);
    if (found == pins_.end()) {
      return nullptr;
    }
    const bool fits = found->second.capacity >= capacity && (limit == 0 || found->second.capacity <= limit);
    if (found->second.parameters != parameters || !fits) {
      throw Refusal(grpc::StatusCode::ALREADY_EXISTS,
                    "volume \"" + name + "\" exists with other parameters or another capacity");
    }
    return &found->second;
  };
  {
    const MutexLock lock(mutex_);
    if (const Pin* const found = find()) {
      return *found;
    }
  }
  Pin pin{parameters, capacity, resolve(parameters, secrets)};
  const MutexLock lock(mutex_);
  if (const Pin* const found = find()) {
    return *found;  // another call was faster
  }
  pins_[name] = pin;
  try {
    save();
  } catch (...) {
    pins_.erase(name);
    throw;
  }
  return pin;
}

void PackagePins::remove(const std::string& name) {
  const MutexLock lock(mutex_);
  if (const auto removed = pins_.extract(name)) {
    save();
  }
}

bool PackagePins::exists(const std::string& name) {
  const MutexLock lock(mutex_);
  return pins_.contains(name);
}

}  // namespace pkgfs::csi
