// SPDX-License-Identifier: MIT
#include "daemon/logging.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include <mutex>

#include "daemon/console.h"
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

class ConsoleSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit ConsoleSink(std::ostream& err) : console_(Console::of(err)) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t text;
    formatter_->format(message, text);
    console_->print({text.data(), text.size()});
  }
  void flush_() override {}

 private:
  std::shared_ptr<Console> console_;
};

}  // namespace

LogSession::LogSession(std::ostream& err) : before_(spdlog::default_logger()) {
  auto sink = std::make_shared<ConsoleSink>(err);
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
