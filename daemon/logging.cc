// SPDX-License-Identifier: MIT
#include "daemon/logging.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include "daemon/text_output.h"

namespace pkgfs {

namespace {

/// The message with control characters escaped: names from packages are in it.
class PrintableMessage final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm& /*time*/, spdlog::memory_buf_t& out) override {
    const std::string text = printable({message.payload.data(), message.payload.size()}, true);
    out.append(text.data(), text.data() + text.size());
  }
  [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<PrintableMessage>();
  }
};

}  // namespace

LogSession::LogSession(std::ostream& err) : before_(spdlog::default_logger()) {
  constexpr bool kFlush = true;
  auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(err, kFlush);
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<PrintableMessage>('*').set_pattern("pkgfs: %l: %*");
  sink->set_formatter(std::move(formatter));
  auto logger = std::make_shared<spdlog::logger>("pkgfs", std::move(sink));
  logger->set_level(spdlog::level::warn);
  spdlog::set_default_logger(std::move(logger));
}

LogSession::~LogSession() { spdlog::set_default_logger(before_); }

void set_log_level(const LogFlags& flags) { spdlog::set_level(spdlog::level::from_str(flags.level)); }

}  // namespace pkgfs
