// SPDX-License-Identifier: MIT
#include "daemon/packages/registry_logins.h"

#include <unistd.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/log.h"
#include "core/oci/auth_file.h"
#include "daemon/cli/settings.h"
#include "daemon/packages/credential_helper.h"

namespace pkgfs {
namespace {

constexpr std::size_t kMostFile = 1U << 20U;

std::optional<oci::AuthFile> read_logins(const std::string& path) {
  try {
    const auto text = read_small_file(path, kMostFile);
    return text ? std::optional(oci::AuthFile::parse(*text)) : std::nullopt;
  } catch (const Error& error) {
    if (error.is_of_run()) {
      throw;
    }
    log::warn("the logins in \"{}\" are left out: {}", path, error);
    return std::nullopt;
  }
}

}  // namespace

std::vector<std::string> login_files(const Environment& environment) {
  const auto value = [&](const char* name) { return environment(name).value_or(""); };
  if (const std::string only = value("REGISTRY_AUTH_FILE"); !only.empty()) {
    return {only};
  }
  const std::string home = home_directory(environment);
  const std::string session = value("XDG_RUNTIME_DIR");
  const std::string config = value("XDG_CONFIG_HOME");
  const std::string docker = value("DOCKER_CONFIG");
  return {session.empty() ? "/run/containers/" + std::to_string(::getuid()) + "/auth.json"
                          : session + "/containers/auth.json",
          (config.empty() ? home + "/.config" : config) + "/containers/auth.json",
          (docker.empty() ? home + "/.docker" : docker) + "/config.json"};
}

std::optional<oci::Credentials> find_login(const oci::Reference& repository, const Environment& environment) {
  if (const std::string text = environment(kLoginsVariable).value_or(""); !text.empty()) {
    try {
      return oci::AuthFile::parse(text).find(repository).credentials;
    } catch (const Error& error) {
      if (error.is_of_run()) {
        throw;
      }
      throw Error(ErrorCode::kUsage, error).context(std::string(kLoginsVariable) + " has no logins that can be used");
    }
  }
  for (const std::string& path : login_files(environment)) {
    const auto file = read_logins(path);
    if (!file) {
      continue;
    }
    const oci::AuthFile::Found found = file->find(repository);
    if (found.credentials) {
      return found.credentials;
    }
    if (found.helper.empty()) {
      continue;
    }
    try {
      if (auto credentials = ask_helper(found.helper, found.server)) {
        return credentials;
      }
    } catch (Error& error) {
      throw std::move(error).context("Unable to get the login for \"" + repository.registry() + "\" that \"" + path +
                                     "\" leaves to a credential helper");
    }
  }
  return std::nullopt;
}

}  // namespace pkgfs
