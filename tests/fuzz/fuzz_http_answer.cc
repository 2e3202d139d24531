// SPDX-License-Identifier: MIT
#include <cstdlib>
#include <sstream>

#include "core/net/download.h"
#include "core/net/http_client.h"
#include "core/net/partial_file.h"
#include "tests/fuzz/raw_server.h"
#include "tests/support/fixtures.h"

using namespace pkgfs;

/// The answers of a server, with NUL between them: the download fails, or brings a file of the size and hash that it
/// tells. The server is the proxy, so that it gets every request, also after a redirect to another machine.
extern "C" int LLVMFuzzerTestOneInput(const char* data, std::size_t size) {
  static const test::TempDir directory;
  static fuzz::RawServer server;
  static HttpClient client({.user_agent = "fuzz",
                            .proxy = server.address(),
                            .ca_file = {},
                            .retry = {.attempts = 3, .first_pause = {}, .server_wait = {}}});
  std::istringstream text(std::string(data, size));
  std::deque<std::string> answers;
  for (std::string answer; std::getline(text, answer, '\0');) {
    answers.push_back(answer);
  }
  server.set_answers(std::move(answers));
  const DownloadRequest request{
      .url = Url::parse("http://fuzz.test/f"), .bearer = {}, .max_bytes = 1U << 16U, .name = "f"};
  const std::string part = directory.path() / "part";
  try {
    const Downloaded done = download(client, request, part, CancelFlag());
    const std::string content = test::read_text(part);
    if (content.size() != done.size || sha256(content) != done.sha256) {
      std::abort();
    }
  } catch (const Error&) {  // refused
  }
  PartialFile::discard(part);  // or the next input would continue it
  return 0;
}
