// SPDX-License-Identifier: MIT
#include "daemon/csi/attributes.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/hash.h"
#include "core/oci/auth_file.h"
#include "core/package/package_specifier.h"
#include "core/resolve/lock_file.h"
#include "daemon/cli/settings.h"

namespace pkgfs::csi {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLongestLock = std::size_t{1} << 20U;
constexpr std::size_t kLongestLockFile = std::size_t{64} << 20U;
constexpr std::size_t kLongestSubPath = 4095;
constexpr std::size_t kLongestLogins = 64U << 10U;
constexpr const char* kLoginsKey = ".dockerconfigjson";
constexpr std::size_t kLongestToken = 16384;
constexpr std::size_t kReadableName = 40;

/// Attributes that are options of `pkgfs mount` with another spelling. All others of its options are for the node's
/// administrator.
struct Attribute {
  std::string_view name;
  std::string_view option;
};
constexpr std::array<Attribute, 13> kAttributes{{{"package", "package"},
                                                 {"registry", "registry"},
                                                 {"lock", "lock"},
                                                 {"commandsDir", "commands-dir"},
                                                 {"lazy", "lazy"},
                                                 {"view", "view"},
                                                 {"conflicts", "conflicts"},
                                                 {"exec", "exec"},
                                                 {"strict", "strict"},
                                                 {"verify", "verify"},
                                                 {"offline", "offline"},
                                                 {"uid", "uid"},
                                                 {"gid", "gid"}}};

bool is_added_by_kubernetes(std::string_view name) {
  return name.starts_with("csi.storage.k8s.io/") || name.starts_with("storage.kubernetes.io/");
}

Error usage(const std::string& attribute, const std::string& text) {
  return {ErrorCode::kUsage, "attribute \"" + attribute + "\": " + text};
}

bool is_false(const std::string& value) { return value == "false" || value == "no" || value == "0"; }

/// Throws unless the node's administrator lets volumes use the path. A link that leads out of the directory is followed
/// first. A user that may change links below the directory may show what they lead to.
void check_path(const std::string& attribute, const std::string& path, const AttributePolicy& policy) {
  if (policy.local_root.empty()) {
    throw usage(attribute, "\"" + path +
                               "\" is a path of the node, and the driver accepts none: name a package of a registry, "
                               "or start pkgfs-csi with --local-root");
  }
  std::error_code failed;
  const fs::path root = fs::canonical(policy.local_root, failed);
  const fs::path real = failed ? fs::path() : fs::weakly_canonical(path, failed);
  if (failed || !path.starts_with('/') || !is_below(real, root)) {
    throw usage(attribute, "\"" + path + "\" isn't below \"" + policy.local_root + "\" (--local-root)");
  }
}

bool is_local_package(const std::string& package) {
  try {
    return PackageSpecifier::parse(package).path() != nullptr;
  } catch (Error& error) {
    throw std::move(error).context("attribute \"package\"");
  }
}

std::string checked_sub_path(const std::string& path) {
  const fs::path normal = fs::path(path).lexically_normal();
  if (path.size() > kLongestSubPath || path.find_first_of(std::string_view("\n\0", 2)) != std::string::npos ||
      (!normal.empty() && *normal.begin() == "..")) {
    throw usage("subPath", "\"" + path + "\" isn't a directory of the package");
  }
  const std::string text = normal.relative_path();
  return text == "." ? std::string() : text;
}

/// A lock file may name files, which pkgfs would open and hash as root. Throws Error(kUsage) if `text` is no lock file,
/// or names a file that volumes may not use.
void check_lock(const std::string& text, const AttributePolicy& policy) {
  LockFile lock;
  try {
    lock = parse_lock(text);
  } catch (const Error& error) {
    throw Error(ErrorCode::kUsage, error).context("attribute \"lock\"");
  }
  for (const LockFile::Locked& locked : lock.packages) {
    if (const auto& path = locked.summary.dist.path) {
      check_path("lock", *path, policy);
    }
  }
}

/// A lock file is JSON; anything else is the path of one.
void take_lock(const std::string& value, VolumeRequest& request, const AttributePolicy& policy) {
  const std::size_t first = value.find_first_not_of(" \t\r\n");
  if (first == std::string::npos || value[first] != '{') {
    check_path("lock", value, policy);
    const auto text = read_small_file(value, kLongestLockFile);
    if (!text) {
      throw Error(ErrorCode::kNotFound, "attribute \"lock\": there is no file \"" + value + "\"");
    }
    check_lock(*text, policy);
    request.options["lock"] = value;
    return;
  }
  if (value.size() > kLongestLock) {
    throw usage("lock", "the text has more than " + std::to_string(kLongestLock) + " bytes");
  }
  check_lock(value, policy);
  request.lock_text = value;
  request.options["lock"] = policy.lock_directory + "/" + to_hex(sha256(value)) + ".lock";
}

/// Logins at OCI registries, as a secret of the type kubernetes.io/dockerconfigjson has them.
void take_logins(const std::string& value, VolumeRequest& request) {
  if (value.size() > kLongestLogins || value.find('\0') != std::string::npos) {
    throw Error(ErrorCode::kUsage,
                std::string("the key \"") + kLoginsKey + "\" of the secret is too long or has a NUL");
  }
  try {
    static_cast<void>(oci::AuthFile::parse(value));  // its errors have no part of the text
  } catch (const Error& error) {
    throw Error(ErrorCode::kUsage, error).context(std::string("the key \"") + kLoginsKey + "\" of the secret");
  }
  request.variables.push_back(std::string(kLoginsVariable) + "=" + value);
}

void take_secrets(const StringMap& secrets, VolumeRequest& request) {
  for (const auto& [name, value] : secrets) {
    if (name == kLoginsKey) {
      take_logins(value, request);
      continue;
    }
    if (name != "token") {
      throw Error(ErrorCode::kUsage, "the secret has the key \"" + name + "\"; the driver knows \"token\" and \"" +
                                         kLoginsKey + "\" only");
    }
    std::string token = value;
    while (token.ends_with('\n') || token.ends_with('\r')) {  // of an editor
      token.pop_back();
    }
    const bool is_printable = std::ranges::all_of(token, [](char c) { return c > ' ' && c < '\x7f'; });
    if (token.empty() || token.size() > kLongestToken || !is_printable) {
      throw Error(ErrorCode::kUsage,
                  "the key \"token\" of the secret isn't a token: it is empty, too long, or has "
                  "characters that can't be sent");
    }
    request.variables.push_back("WASMER_TOKEN=" + token);
  }
}

/// Readable, and the same only for mounts that may be shared. Pods with different tokens don't share one: a token may
/// open packages that the other pod may not read.
std::string mount_name(const VolumeRequest& request) {
  std::string name;
  for (const char c : request.options.at("package").substr(0, kReadableName)) {
    const bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.';
    if (fits && !(name.empty() && c == '.')) {
      name += c;
    } else if (!name.empty() && !name.ends_with('-')) {
      name += '-';
    }
  }
  const nlohmann::json identity{request.options, request.variables};
  const std::string hash =
      to_hex(sha256(identity.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace))).substr(0, 16);
  return name.empty() || name.ends_with('-') ? name + hash : name + "-" + hash;
}

}  // namespace

VolumeRequest parse_attributes(const StringMap& attributes, const StringMap& secrets, const AttributePolicy& policy) {
  VolumeRequest request;
  for (const auto& [name, value] : attributes) {
    const auto* const known = std::ranges::find(kAttributes, name, &Attribute::name);
    if (is_added_by_kubernetes(name)) {
      continue;
    }
    if (name == "writable") {
      if (!is_false(value)) {
        throw Error(ErrorCode::kUnsupported,
                    "attribute \"writable\": packages are mounted read-only; give the pod an emptyDir for its changes");
      }
    } else if (name == "subPath") {
      request.sub_path = checked_sub_path(value);
    } else if (name == "lock") {
      take_lock(value, request, policy);
    } else if (known != kAttributes.end()) {
      request.options[std::string(known->option)] = value;
    } else {
      throw usage(name, "the driver doesn't know it");
    }
  }
  const auto package = request.options.find("package");
  if (package == request.options.end() || package->second.empty()) {
    throw usage("package", "it is missing: it says what the volume shows (namespace/name)");
  }
  if (is_local_package(package->second)) {
    check_path("package", package->second, policy);
  }
  if (const auto registry = request.options.find("registry");
      registry != request.options.end() && is_local_registry(registry->second)) {
    check_path("registry", registry->second, policy);
  }
  take_secrets(secrets, request);
  request.options["cache-dir"] = policy.cache_dir;
  (void)parse_volume_options(request.options);
  request.name = mount_name(request);
  return request;
}

}  // namespace pkgfs::csi
