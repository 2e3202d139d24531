// SPDX-License-Identifier: MIT
#include "core/package/package_specifier.h"

#include <algorithm>
#include <utility>

#include "core/base/ascii.h"
#include "core/base/error.h"

#include "core/package/digits.h"
#include "core/package/file_url.h"

namespace pkgfs {
namespace {

/// Thrown with the reason why a text is no specifier; `parse` makes the full message.
struct Reason {
  std::string text;
};

[[noreturn]] void reject_specifier(std::string reason) { throw Reason{std::move(reason)}; }

bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

std::string_view trim(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\n\v\f\r";
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

/// Decodes percent-encoding. As in URL parsers, a `%` without two hex digits stays.
std::string percent_decode(std::string_view text) {
  const auto value = [](char c) { return is_digit(c) ? c - '0' : to_lower(c) - 'a' + 10; };
  const auto is_hex = [](char c) { return is_digit(c) || (to_lower(c) >= 'a' && to_lower(c) <= 'f'); };
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && text.size() - i > 2 && is_hex(text[i + 1]) && is_hex(text[i + 2])) {
      result += static_cast<char>(value(text[i + 1]) * 16 + value(text[i + 2]));
      i += 2;
    } else {
      result += text[i];
    }
  }
  return result;
}

/// Percent-encodes the characters that a URL must not contain, and those of `more`.
std::string percent_encode(std::string_view text, std::string_view more = {}) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80 || is_control(c) || c == ' ' || c == '"' || c == '<' || c == '>' || c == '`' ||
        more.find(c) != std::string_view::npos) {
      result += '%';
      result += kHex[byte >> 4U];
      result += kHex[byte & 0xfU];
    } else {
      result += c;
    }
  }
  return result;
}

PackageSpecifier file_path(std::string_view host, std::string_view path) {
  if (!host.empty() && host != "localhost") {
    reject_specifier("a file URL can't name a host");
  }
  path = path.substr(0, path.find_first_of("?#"));
  std::string decoded = percent_decode(path);
  if (decoded.empty()) {
    reject_specifier("a file URL needs a path");
  }
  if (decoded.find('\0') != std::string::npos) {
    reject_specifier("a path can't contain a NUL");
  }
  return PackageSpecifier::Path{std::move(decoded)};
}

/// Checks the `[user@]host[:port]` of a web URL.
void check_authority(std::string_view authority) {
  const std::size_t at = authority.rfind('@');
  std::string_view host = at == std::string_view::npos ? authority : authority.substr(at + 1);
  const std::size_t bracket = host.rfind(']');  // an IPv6 address has colons of its own
  const std::size_t colon = host.find(':', bracket == std::string_view::npos ? 0 : bracket);
  if (colon != std::string_view::npos) {
    const std::string_view port = host.substr(colon + 1);
    host = host.substr(0, colon);
    if (port.size() > 5 || !std::all_of(port.begin(), port.end(), is_digit) ||
        (!port.empty() && std::stoul(std::string(port)) > 65535)) {
      reject_specifier("invalid port number");
    }
  }
  if (host.empty()) {
    reject_specifier("empty host");
  }
  if (host.find_first_of(" \"%<>\\^`{|}") != std::string_view::npos) {
    reject_specifier("invalid domain character");
  }
}

/// A text with `://` in it.
PackageSpecifier parse_url(std::string_view text) {
  text = trim(text);
  const std::size_t colon = text.find("://");
  const std::string scheme = to_lower(std::string(text.substr(0, colon)));
  const auto scheme_char = [](char c) { return is_alpha(c) || is_digit(c) || c == '+' || c == '.' || c == '-'; };
  if (scheme.empty() || !is_alpha(scheme.front()) || !std::all_of(scheme.begin(), scheme.end(), scheme_char)) {
    reject_specifier("relative URL without a base");
  }
  if (std::any_of(text.begin(), text.end(), is_control)) {
    reject_specifier("a URL can't contain control characters");
  }
  const std::string_view rest = text.substr(colon + 3);
  const std::size_t path_start = std::min(rest.find_first_of("/?#"), rest.size());
  const std::string_view authority = rest.substr(0, path_start);
  const std::string_view path = rest.substr(path_start);
  if (scheme == "file") {
    return file_path(to_lower(std::string(authority)), path);
  }
  std::string url = scheme + "://";
  if (scheme == "http" || scheme == "https") {
    check_authority(authority);
    const std::size_t host = authority.rfind('@') + 1;  // 0 without one
    url += std::string(authority.substr(0, host)) + to_lower(std::string(authority.substr(host)));
    url += path.starts_with('/') ? "" : "/";
  } else {
    url += authority;
  }
  return PackageSpecifier::Url{url + percent_encode(path)};
}

/// Refuses characters that are dangerous in file names, GraphQL texts and terminals.
void check_component(std::string_view what, std::string_view text) {
  if (std::any_of(text.begin(), text.end(), [](char c) { return is_control(c) || c == '"' || c == '\\'; })) {
    reject_specifier("the " + std::string(what) + R"( contains a control character, '"' or '\')");
  }
}

void check_full_name(std::string_view full_name) {
  while (true) {
    const std::size_t slash = full_name.find('/');
    const std::string_view part = full_name.substr(0, slash);
    if (part.empty() || part == "." || part == "..") {
      reject_specifier("\"" + std::string(part) + "\" can't be a part of a package name");
    }
    if (slash == std::string_view::npos) {
      return;
    }
    full_name.remove_prefix(slash + 1);
  }
}

/// `v1.2`: a mistyped requirement, not a tag.
bool is_version_behind_v(std::string_view text) {
  return (text.starts_with('v') || text.starts_with('V')) && text.size() > 1 && is_digit(text[1]) &&
         text.find('_') == std::string_view::npos;
}

/// Whether a text can be the name of a tag. What begins like a version (`1.02`, `v1.2`) is a mistyped requirement.
bool is_tag(std::string_view text) {
  return is_alpha(text.front()) && !is_version_behind_v(text) && std::all_of(text.begin(), text.end(), [](char c) {
           return is_alpha(c) || is_digit(c) || c == '.' || c == '_' || c == '-';
         });
}

/// Sets the tag of `ident`, and the build metadata that belongs to it.
void parse_tag(std::string_view text, NamedIdent& ident) {
  if (text.empty()) {
    return;
  }
  if (text == "latest") {
    ident.tag = VersionReq{};
    return;
  }
  VersionReq::Fault fault;
  if (std::optional<VersionReq> requirement = VersionReq::try_parse(text, &ident.build, &fault)) {
    ident.tag = *std::move(requirement);
    return;
  }
  check_component("tag", text);
  if (!is_tag(text)) {
    std::string reason = "\"" + std::string(text) + "\" is neither a version requirement (at character " +
                         std::to_string(fault.at + 1) + ": " + fault.reason +
                         ") nor a tag (a letter, then letters, digits, \".\", \"_\" and \"-\"" +
                         (is_version_behind_v(text) ? ", and not `v` with a digit behind it)" : ")");
    const std::optional<std::string> near = VersionReq::nearest(text);
    reason += near ? "; did you mean \"" + *near + "\"?"
                   : "; a requirement is written like \"^1.2\", \"=1.2.3\" or \">=1, <2\"";
    reject_specifier(std::move(reason));
  }
  ident.tag = std::string(text);
}

NamedIdent parse_named(std::string_view text) {
  NamedIdent ident;
  std::string_view left = text;
  const std::string_view trimmed = trim(text);
  if (const std::size_t at = trimmed.rfind('@'); at != std::string_view::npos) {
    parse_tag(trimmed.substr(at + 1), ident);
    left = trimmed.substr(0, at);
  }
  const std::size_t slash = left.rfind('/');
  ident.name = trim(slash == std::string_view::npos ? left : left.substr(slash + 1));
  if (ident.name.empty()) {
    reject_specifier("package name is required");
  }
  if (slash != std::string_view::npos) {
    std::string_view owner = left.substr(0, slash);
    if (const std::size_t colon = owner.rfind(':'); colon != std::string_view::npos) {
      if (const std::string_view registry = trim(owner.substr(0, colon)); !registry.empty()) {
        ident.registry = registry;
        check_component("registry", registry);
      }
      owner.remove_prefix(colon + 1);
    }
    ident.namespace_ = trim(owner);
    if (ident.namespace_->empty()) {
      reject_specifier("namespace can not be empty");
    }
    check_component("namespace", *ident.namespace_);
  }
  check_component("package name", ident.name);
  check_full_name(ident.full_name());
  return ident;
}

PackageSpecifier parse_specifier(std::string_view text) {
  if (text.empty()) {
    reject_specifier("An empty string is not a valid package source");
  }
  if (text.find("://") != std::string_view::npos) {
    return parse_url(text);
  }
  if (text.front() == '.' || text.front() == '/') {
    if (text.find('\0') != std::string_view::npos) {
      reject_specifier("a path can't contain a NUL");
    }
    return PackageSpecifier::Path{std::string(text)};
  }
  if (std::optional<PackageHash> hash = PackageHash::parse(text)) {
    return *std::move(hash);
  }
  if (to_lower(std::string(trim(text).substr(0, 7))) == "sha256:") {
    reject_specifier("a package hash is written `sha256:` and 64 hex digits");
  }
  return parse_named(text);
}

}  // namespace

std::string NamedIdent::full_name() const { return namespace_ ? *namespace_ + "/" + name : name; }

VersionReq NamedIdent::requirement() const {
  const auto* requirement = std::get_if<VersionReq>(&tag);
  return requirement != nullptr ? *requirement : VersionReq{};
}

std::optional<Version> NamedIdent::wanted_build() const {
  const auto* requirement = std::get_if<VersionReq>(&tag);
  if (build.empty() || requirement == nullptr || !requirement->is_exact()) {
    return std::nullopt;
  }
  const VersionReq::Comparator& exact = requirement->comparators().front();
  return Version{exact.major, exact.minor.value_or(0), exact.patch.value_or(0), exact.pre, build};
}

bool NamedIdent::matches(const NamedId& id) const {
  if (full_name() != id.full_name) {
    return false;
  }
  if (const std::string* word = named_tag()) {
    return *word == id.version.to_string();
  }
  const auto* requirement = std::get_if<VersionReq>(&tag);
  return requirement == nullptr || requirement->matches(id.version);
}

std::string NamedIdent::to_string() const {
  std::string text = registry ? *registry + ":" : "";
  text += full_name();
  if (const std::string* word = named_tag()) {
    text += "@" + *word;
  } else if (const auto* requirement = std::get_if<VersionReq>(&tag)) {
    text += "@" + requirement->to_string();
    if (!build.empty() && requirement->comparators().size() == 1) {
      text += "+" + build;
    }
  }
  return text;
}

std::string file_url(std::string_view path) { return "file://" + percent_encode(path, "%?#"); }

PackageSpecifier PackageSpecifier::parse(std::string_view text) {
  try {
    return parse_specifier(text);
  } catch (const Reason& reason) {
    throw Error(ErrorCode::kUsage, "could not parse value as package identifier: " + reason.text + " (value: '" +
                                       std::string(text) + "')");
  }
}

std::string PackageSpecifier::to_string() const {
  if (const NamedIdent* ident = named()) {
    return ident->to_string();
  }
  if (const PackageHash* digest = hash()) {
    return digest->to_string();
  }
  return url() != nullptr ? url()->text : path()->text;
}

}  // namespace pkgfs
