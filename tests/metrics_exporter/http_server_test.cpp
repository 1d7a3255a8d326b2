// The server in front of the figures, with clients that are slow, rude and many.
#include "nodes/metrics_exporter/http_server.hpp"

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/metrics_exporter/http_client.hpp"

namespace fovea::exporter {
namespace {

using test::ask;
using test::body_of;
using test::connect_to;
using test::hear;
using test::say;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class HttpServerTest : public testing::Test {
 protected:
  HttpServerTest() {
    auto started = HttpServer::start(0, [this] { return body_; });
    EXPECT_TRUE(started) << started.error().message;
    server_ = std::move(*started);
  }
  std::uint16_t port() const { return server_->port(); }

  std::shared_ptr<const std::string> body_ = std::make_shared<const std::string>("a 1\n");
  std::unique_ptr<HttpServer> server_;
};

constexpr std::string_view kGet = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

TEST_F(HttpServerTest, AnswersAScrape) {
  const std::string answer = ask(port(), kGet);
  EXPECT_THAT(answer, AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("version=0.0.4"),
                            HasSubstr("Content-Length: 4\r\n"), HasSubstr("Connection: close")));
  EXPECT_EQ(body_of(answer), "a 1\n");
  EXPECT_EQ(body_of(ask(port(), "GET /metrics?x=1 HTTP/1.0\r\n\r\n")), "a 1\n");
  const std::string head = ask(port(), "HEAD /metrics HTTP/1.1\r\n\r\n");
  EXPECT_THAT(head, HasSubstr("Content-Length: 4\r\n"));
  EXPECT_EQ(body_of(head), "");
}

TEST_F(HttpServerTest, WhatIsNoScrapeIsRefusedByItsNumber) {
  EXPECT_THAT(ask(port(), "GET / HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(ask(port(), "GET /metrics/../etc/passwd HTTP/1.1\r\n\r\n"),
              StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(ask(port(), "POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"),
              AllOf(StartsWith("HTTP/1.1 405 "), HasSubstr("Allow: GET, HEAD")));
  for (const char* request :
       {"\r\n\r\n", "GET\r\n\r\n", "GET /metrics\r\n\r\n", "GET /metrics FTP/1\r\n\r\n",
        "\x16\x03\x01 hello \x01\xff\r\n\r\n"}) {
    EXPECT_THAT(ask(port(), request), StartsWith("HTTP/1.1 400 ")) << request;
  }
}

TEST_F(HttpServerTest, ARequestIsBounded) {
  const std::string endless(std::size_t{1} << 20, 'x');
  EXPECT_THAT(ask(port(), "GET /metrics HTTP/1.1\r\nX: " + endless), StartsWith("HTTP/1.1 431 "));
  EXPECT_EQ(body_of(ask(port(), kGet)), "a 1\n");
}

TEST_F(HttpServerTest, ARequestMayComeInPieces) {
  const FileHandle socket = connect_to(port());
  for (const char c : kGet) say(socket, std::string_view(&c, 1));
  EXPECT_EQ(body_of(hear(socket)), "a 1\n");
}

TEST_F(HttpServerTest, ClientsThatAskAndDoNotReadStallNobody) {
  body_ = std::make_shared<const std::string>(std::size_t{16} << 20, 'x');
  std::vector<FileHandle> slow;
  for (std::size_t i = 0; i < HttpServer::kMaxConnections / 2; ++i) {
    slow.push_back(connect_to(port()));
    say(slow.back(), kGet);
  }
  EXPECT_EQ(body_of(ask(port(), kGet)).size(), body_->size());
  EXPECT_EQ(body_of(hear(slow.back())).size(), body_->size()) << "it may still begin to read";
}

TEST_F(HttpServerTest, WhoComesWhenAllPlacesAreTakenGetsTheOldestOnes) {
  std::vector<FileHandle> idle;
  for (std::size_t i = 0; i < 3 * HttpServer::kMaxConnections; ++i) {
    idle.push_back(connect_to(port()));
    ASSERT_TRUE(idle.back());
    say(idle.back(), "GET /met");
  }
  EXPECT_EQ(body_of(ask(port(), kGet)), "a 1\n");
  EXPECT_EQ(hear(idle.front()), "") << "it lost its place";
}

TEST_F(HttpServerTest, EndsWhileClientsAreConnected) {
  const FileHandle idle = connect_to(port());
  say(idle, "GET");
  server_.reset();
  EXPECT_EQ(hear(idle), "");
}

TEST_F(HttpServerTest, APortInUseIsNamed) {
  const auto second = HttpServer::start(port(), [this] { return body_; });
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(second.error().message, HasSubstr(std::to_string(port())));
}

}  // namespace
}  // namespace fovea::exporter
