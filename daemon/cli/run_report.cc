// SPDX-License-Identifier: MIT
#include "daemon/cli/run_report.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <ostream>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/webc/parse_json.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/json_output.h"
#include "daemon/cli/logging.h"

namespace pkgfs {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kLongestText = 4096;
constexpr std::size_t kLongestChain = 16;

constexpr std::array<std::pair<ErrorCode, std::string_view>, 14> kCodes{{
    {ErrorCode::kUsage, "usage"},
    {ErrorCode::kNotFound, "not-found"},
    {ErrorCode::kCorrupt, "corrupt"},
    {ErrorCode::kUnsupported, "unsupported"},
    {ErrorCode::kResolve, "resolve"},
    {ErrorCode::kLoad, "load"},
    {ErrorCode::kPermission, "permission"},
    {ErrorCode::kBusy, "busy"},
    {ErrorCode::kIo, "io"},
    {ErrorCode::kFull, "full"},
    {ErrorCode::kMount, "mount"},
    {ErrorCode::kNetwork, "network"},
    {ErrorCode::kInterrupted, "interrupted"},
    {ErrorCode::kInternal, "internal"},
}};

std::string_view name_of(ErrorCode code) {
  const auto* const found = std::ranges::find(kCodes, code, &std::pair<ErrorCode, std::string_view>::first);
  return found == kCodes.end() ? "internal" : found->second;
}

ErrorCode code_of(std::string_view name) {
  const auto* const found = std::ranges::find(kCodes, name, &std::pair<ErrorCode, std::string_view>::second);
  return found == kCodes.end() ? ErrorCode::kInternal : found->first;
}

void write_line(int fd, const Json& event) {
  const std::string line = json_line(event) + "\n";
  while (::write(fd, line.data(), line.size()) < 0 && errno == EINTR) {
  }
}

/// Empty for what isn't an object.
Json object_from(std::string_view line) { return webc::parse_object(line).value_or(Json::object()); }

std::string text_of(const Json& event, const char* key) {
  const auto found = event.find(key);
  return found != event.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::optional<Error> error_from(const Json& event) {
  constexpr auto kKept = Error::LineBreaks::kKept;  // the process that wrote them has made them printable
  const ErrorCode code = code_of(text_of(event, "code"));
  std::optional<Error> error;
  if (const auto found = event.find("chain"); found != event.end() && found->is_array()) {
    for (const Json& message : *found) {
      if (message.is_string() && !error) {
        error.emplace(code, message.get<std::string>(), kKept);
      } else if (message.is_string()) {
        error->caused_by(message.get<std::string>(), kKept);
      }
    }
  }
  return error;
}

}  // namespace

std::string report_variable(int fd) { return std::to_string(::getpid()) + ":" + std::to_string(fd); }

int find_report_fd(const Environment& environment) {
  const std::string text = environment(kReportVariable).value_or(std::string());
  const char* const end = text.data() + text.size();
  pid_t reader = 0;
  int fd = -1;
  const auto [colon, wrong] = std::from_chars(text.data(), end, reader);
  if (wrong != std::errc() || colon == end || *colon != ':' || std::from_chars(colon + 1, end, fd).ptr != end) {
    return -1;
  }
  const bool is_ours = reader == ::getppid() && fd > STDERR_FILENO && ::fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
  return is_ours ? fd : -1;
}

void report_message(int fd, const RunReport::Message& message) {
  write_line(fd, {{"event", "message"},
                  {"level", message.is_warning ? "warning" : "info"},
                  {"text", message.text.substr(0, kLongestText)}});
}

RunReport parse_run_report(std::string_view text) {
  RunReport report;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const Json event = object_from(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (const std::string kind = text_of(event, "event"); kind == "error") {
      report.error = error_from(event);
    } else if (kind == "message") {
      report.messages.push_back({.is_warning = text_of(event, "level") == "warning", .text = text_of(event, "text")});
    }
  }
  return report;
}

int report_failure(const Io& io, const Error& error) {
  if (io.report_fd < 0) {
    *io.err << error_lines(io, error) << std::flush;
    return to_exit_code(error.code());
  }
  Json chain = Json::array();
  for (const std::string& message : error.chain()) {
    if (chain.size() < kLongestChain) {
      chain.push_back(message.substr(0, kLongestText));
    }
  }
  write_line(io.report_fd, {{"event", "error"}, {"code", name_of(error.code())}, {"chain", std::move(chain)}});
  return to_exit_code(error.code());
}

}  // namespace pkgfs
