// SPDX-License-Identifier: MIT
#include "daemon/packages/artifact_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/hash.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/private_directory.h"
#include "core/cache/cache_files.h"
#include "core/oci/reference.h"

namespace pkgfs::artifact_files {
namespace {

/// The hash in the name of a file; nothing for the name of another file.
std::optional<std::string> hash_in(const std::string& name) {
  const std::size_t dot = std::min(name.find('.'), name.size());
  const std::string hash = name.substr(0, dot);
  const std::string_view ending = std::string_view(name).substr(dot);
  const bool is_ours = (ending == kDocument || ending == kTag || ending == kScheme) && sha256_from_hex(hash);
  return is_ours ? std::optional(hash) : std::nullopt;
}

/// The directories of logins that are there, sorted by path.
std::vector<PrivateDirectory> logins_in(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code failed;
  for (std::filesystem::directory_iterator entry(directory, failed), end; !failed && entry != end;
       entry.increment(failed)) {
    std::string name = entry->path().filename();
    if (name == kOpen || sha256_from_hex(name)) {
      names.push_back(std::move(name));
    }
  }
  std::ranges::sort(names);
  std::vector<PrivateDirectory> found;
  for (const std::string& name : names) {
    try {
      if (auto login = PrivateDirectory::find(directory + "/" + name)) {
        found.push_back(*std::move(login));
      }
    } catch (const Error& error) {
      if (error.is_of_run()) {
        throw;
      }
      log::debug("{}", error);
    }
  }
  return found;
}

std::chrono::system_clock::time_point time_of(const timespec& time) {
  return std::chrono::system_clock::from_time_t(time.tv_sec);
}

}  // namespace

std::vector<File> list(const std::string& directory) {
  std::vector<File> files;
  for (const PrivateDirectory& login : logins_in(directory)) {
    std::error_code ignored;
    login.for_each_file(ignored, [&](const std::string& name, const struct stat& status) {
      if (auto hash = hash_in(name)) {
        files.push_back({*std::move(hash), login.path(), name, static_cast<std::uint64_t>(status.st_size),
                         std::max(time_of(status.st_atim), time_of(status.st_mtim))});
      }
    });
  }
  std::ranges::sort(files, {}, &File::path);
  return files;
}

std::string damage_of(const File& file) {
  std::optional<std::string> text;
  try {
    text = read_own_file(file.path(), limits::kAnswerBytes);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCorrupt) {
      throw;
    }
    return error.message();  // too large
  }
  if (!text) {
    return {};
  }
  if (file.name.ends_with(kDocument)) {
    const std::string actual = to_hex(sha256(*text));
    return actual == file.hash ? std::string() : "its content has the hash " + actual;
  }
  const bool is_known = file.name.ends_with(kTag) ? oci::parse_digest(*text).has_value()  //
                                                  : text == "http" || text == "https";
  return is_known ? "" : "its content isn't what pkgfs writes";
}

void remove(const File& file) {
  const auto login = PrivateDirectory::find(file.directory);
  if (!login) {
    return;
  }
  if (::unlinkat(login->fd(), file.name.c_str(), 0) != 0 && errno != ENOENT) {
    throw system_error("Unable to remove \"" + file.path() + "\"", errno);
  }
  ::rmdir(file.directory.c_str());
}

std::uint64_t remove_leftovers(const std::string& directory, std::chrono::seconds age, bool dry_run) {
  constexpr std::size_t kRandomPart = 9;  // a point and eight hex digits
  const auto limit = cache_files::Clock::now() - age;
  std::uint64_t freed = 0;
  for (PrivateDirectory& login : logins_in(directory)) {
    freed += cache_files::remove_old(std::move(login), limit, dry_run, [](const std::string& name) {
      return name.size() > kRandomPart && name[name.size() - kRandomPart] == '.' &&
             hash_in(name.substr(0, name.size() - kRandomPart));
    });
  }
  return freed;
}

}  // namespace pkgfs::artifact_files
