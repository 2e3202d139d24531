// SPDX-License-Identifier: MIT
#include "daemon/serve/name_syntax.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/package/package_specifier.h"
#include "core/package/semver.h"

namespace pkgfs {
namespace {

using Kind = NameSyntax::Kind;

bool is_letter_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

/// What a registry takes as a part of a name.
bool is_plain(std::string_view part) {
  return !part.empty() && is_letter_or_digit(part.front()) &&
         std::ranges::all_of(part, [](char c) { return is_letter_or_digit(c) || c == '-' || c == '_'; });
}

/// Programs look for these in every directory above their own, and no namespace has such a name.
bool is_never_namespace(std::string_view word) {
  static constexpr std::string_view kWords[] = {"CVS",       "HEAD",         "RCS",          "SCCS", "bower_components",
                                                "commondir", "node_modules", "site-packages"};
  return std::ranges::find(kWords, word) != std::end(kWords);
}

/// Whether programs look for files and directories of this name in directories above their own: version control, build
/// tools, interpreters. With a version, such as "config@*", the name is one like any other.
bool is_probed(std::string_view word) {
  static constexpr std::string_view kWords[] = {
      "BUILD",       "Containerfile", "Dockerfile", "GNUmakefile", "Gemfile", "Jenkinsfile", "Justfile",  "LICENSE",
      "README",      "Makefile",      "Procfile",   "Rakefile",    "TAGS",    "Vagrantfile", "WORKSPACE", "autorun",
      "config",      "gitdir",        "hooks",      "index",       "info",    "justfile",    "makefile",  "objects",
      "packed-refs", "refs",          "shallow",    "tags",        "venv",    "worktrees"};
  return is_never_namespace(word) || std::ranges::find(kWords, word) != std::end(kWords);
}

/// `space`: the namespace; empty: none.
NameSyntax package_syntax(std::string_view space, std::string_view name) {
  const std::string prefix = space.empty() ? "" : std::string(space) + "/";
  const std::size_t at = name.find('@');
  const std::string_view bare = name.substr(0, at);
  if (bare.empty() || bare.front() == '.' || at + 1 == name.size()) {
    return {};
  }
  const std::string_view tag = at == std::string_view::npos ? "*" : name.substr(at + 1);
  const std::optional<Version> version = Version::try_parse(tag);
  NameSyntax syntax{.kind = version ? Kind::kExact : Kind::kRequirement,
                    .full_name = prefix + std::string(bare),
                    .specifier = {},
                    .is_plain = is_plain(bare) && (at != std::string_view::npos || !is_probed(bare)) &&
                                (space.empty() || (is_plain(space) && !is_never_namespace(space)))};
  syntax.specifier = syntax.full_name + "@" + (version ? "=" : "") + std::string(tag);
  try {
    const PackageSpecifier parsed = PackageSpecifier::parse(syntax.specifier);
    if (parsed.named() == nullptr || parsed.named()->full_name() != syntax.full_name || parsed.named()->registry) {
      return {};
    }
  } catch (const Error&) {
    return {};
  }
  return syntax;
}

}  // namespace

NameSyntax syntax_of(std::string_view directory, std::string_view name) {
  if (directory == "sha256") {
    const std::optional<Sha256> hash = sha256_from_hex(name);
    if (!hash || to_hex(*hash) != name) {
      return {};
    }
    return {.kind = Kind::kExact, .full_name = {}, .specifier = "sha256:" + std::string(name)};
  }
  if (directory == "locked") {
    if (name.empty() || name.front() == '.') {
      return {};
    }
    return {.kind = Kind::kLockedPackage, .full_name = {}, .specifier = std::string(name)};
  }
  if (!directory.empty()) {
    return package_syntax(directory, name);
  }
  if (name == "sha256") {
    return {.kind = Kind::kHashes};
  }
  if (name == "locked") {
    return {.kind = Kind::kLocked};
  }
  if (name == ".locks") {
    return {.kind = Kind::kLocks};
  }
  if (name.find('@') != std::string_view::npos) {
    return package_syntax({}, name);
  }
  if (name.empty() || name.front() == '.' || name.find(':') != std::string_view::npos) {
    return {};
  }
  return {.kind = Kind::kNamespace,
          .full_name = std::string(name),
          .specifier = {},
          .is_plain = is_plain(name) && !is_never_namespace(name)};
}

NameSyntax syntax_of_path(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? syntax_of({}, path)
                                         : syntax_of(path.substr(0, slash), path.substr(slash + 1));
}

}  // namespace pkgfs
