// SPDX-License-Identifier: MIT
#include "daemon/packages/registry_logins.h"

#include <unistd.h>

#include <filesystem>
#include <utility>

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

RegistryLogins::RegistryLogins(const Environment& environment, const std::string& directory)
    : text_(environment(kLoginsVariable).value_or("")) {
  const auto value = [&](const char* name) { return environment(name).value_or(""); };
  const auto add = [&](const std::filesystem::path& path) {
    std::error_code failed;  // the directory of the process was removed: a relative path leads nowhere
    const std::filesystem::path whole = std::filesystem::absolute(directory / path, failed);
    files_.push_back((failed ? path : whole).lexically_normal().string());
  };
  if (const std::string only = value("REGISTRY_AUTH_FILE"); !only.empty()) {
    add(only);
    return;
  }
  const std::string home = home_directory(environment);
  const std::string session = value("XDG_RUNTIME_DIR");
  const std::string config = value("XDG_CONFIG_HOME");
  const std::string docker = value("DOCKER_CONFIG");
  add(session.empty() ? "/run/containers/" + std::to_string(::getuid()) + "/auth.json"
                      : session + "/containers/auth.json");
  add((config.empty() ? home + "/.config" : config) + "/containers/auth.json");
  add((docker.empty() ? home + "/.docker" : docker) + "/config.json");
}

std::optional<oci::Credentials> RegistryLogins::find_in_variable(const oci::Reference& repository) const {
  try {
    return oci::AuthFile::parse(text_).find(repository).credentials;
  } catch (const Error& error) {
    if (error.is_of_run()) {
      throw;
    }
    throw Error(ErrorCode::kUsage, error).context(std::string(kLoginsVariable) + " has no logins that can be used");
  }
}

std::optional<oci::Credentials> RegistryLogins::find(const oci::Reference& repository, const CancelFlag& cancel) const {
  if (!text_.empty()) {
    return find_in_variable(repository);
  }
  for (const std::string& path : files_) {
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
      if (auto credentials = ask_helper(found.helper, found.server, cancel)) {
        return credentials;
      }
    } catch (Error& error) {
      if (error.is_of_run()) {
        throw;
      }
      throw std::move(error).context("Unable to get the login for \"" + repository.registry() + "\" that \"" + path +
                                     "\" leaves to a credential helper");
    }
  }
  return std::nullopt;
}

std::string RegistryLogins::identity(const oci::Reference& repository) const {
  std::string text;
  const auto add = [&text](const std::string& part) { text += std::to_string(part.size()) + ":" + part; };
  const auto add_login = [&add](const oci::Credentials& login) {
    for (const std::string& part : {login.username, login.password, login.identity_token, login.registry_token}) {
      add(part);
    }
  };
  if (!text_.empty()) {
    if (const auto login = find_in_variable(repository)) {
      add_login(*login);
    }
    return text;
  }
  for (const std::string& path : files_) {
    const auto file = read_logins(path);
    const auto found = file ? std::optional(file->find(repository)) : std::nullopt;
    if (found && !found->helper.empty()) {
      add("helper");
      add(path);
      add(found->helper);
    }
    if (found && found->credentials) {
      add_login(*found->credentials);
      break;
    }
  }
  return text;
}

}  // namespace pkgfs
