#include "nodes/base/text.hpp"

#include <gtest/gtest.h>

namespace fovea {
namespace {

TEST(Text, ControlCharactersOfEveryKindBecomeVisible) {
  EXPECT_EQ(one_line("a\nb\x1b[2J\x7f\tc"), "a\\x0ab\\x1b[2J\\x7f\tc");
  EXPECT_EQ(one_line("\xc2\x9b\x33\x31m"), "\\xc2\\x9b31m");  // C1: an 8-bit CSI
  EXPECT_EQ(one_line("\xe2\x80\xae"
                     "fdp"),
            "\\xe2\\x80\\xaefdp");  // right-to-left override
  EXPECT_EQ(one_line(std::string_view("a\0b", 3)), "a\\x00b");
}

TEST(Text, BytesThatAreNoUtf8BecomeVisibleAndCharactersStay) {
  EXPECT_EQ(one_line("Fußgänger 歩行者 🚗"), "Fußgänger 歩行者 🚗");
  EXPECT_EQ(one_line("\xff\xc3"), "\\xff\\xc3");
  EXPECT_EQ(one_line("\xc0\xaf"), "\\xc0\\xaf");                    // overlong
  EXPECT_EQ(one_line("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // surrogate
  EXPECT_EQ(one_line("\xf5\x80\x80\x80"), "\\xf5\\x80\\x80\\x80");  // beyond Unicode
}

TEST(Text, LongTextIsCutAtACharacterAndSaysHowLongItWas) {
  EXPECT_EQ(shown("abc", 3), "abc");
  EXPECT_EQ(shown("abcd", 3), "abc... (4 bytes)");
  EXPECT_EQ(shown("aää", 4), "aä... (5 bytes)");
  EXPECT_LT(shown(std::string(1 << 20, '\n')).size(), 1000u);
}

TEST(Text, APrefixNeverCutsACharacter) {
  EXPECT_EQ(utf8_prefix("aä", 2), "a");
  EXPECT_EQ(utf8_prefix("aä", 3), "aä");
  EXPECT_EQ(utf8_prefix("🚗🚗", 7), "🚗");
  EXPECT_EQ(utf8_prefix("\xff\xff\xff", 2), "\xff\xff");
  EXPECT_EQ(utf8_prefix("ä", 0), "");
}

TEST(Text, PasswordsOfAddressesAreMaskedWhereverTheyStand) {
  EXPECT_EQ(without_secrets("rtsp://cam:s3cret@10.0.0.5/main"), "rtsp://***@10.0.0.5/main");
  EXPECT_EQ(without_secrets("open 'rtsp://u:p@h/x': timeout; rtsp://v:q@i/y"),
            "open 'rtsp://***@h/x': timeout; rtsp://***@i/y");
  EXPECT_EQ(without_secrets("rtsp://u:p/a?s@host/x"), "rtsp://***@host/x");  // unescaped
  EXPECT_EQ(without_secrets("rtsp://u:p@ss@host/x"), "rtsp://***@host/x");
  EXPECT_EQ(without_secrets("http://h/video?user=me&Password=abc&fps=3"),
            "http://h/video?user=me&Password=***&fps=3");
  EXPECT_EQ(without_secrets("rtsp://token@host"), "rtsp://***@host");
}

TEST(Text, AddressesWithoutSecretsStayAsTheyAre) {
  for (const char* text : {"file:///a/b@2x.png", "images:///x", "rtsp://h:554/x", "no address",
                           "a://", "://", "synthetic://?width=3&height=4"}) {
    EXPECT_EQ(without_secrets(text), text);
  }
}

TEST(Text, APasswordMayHoldWhatEndsAnAddressElsewhere) {
  EXPECT_EQ(without_secrets("rtsp://me:a,b;c'd@cam/1, rtsp://me:x@cam/2; 'rtsp://cam/3'"),
            "rtsp://***@cam/1, rtsp://***@cam/2; 'rtsp://cam/3'");
  EXPECT_EQ(without_secrets("a=rtsp://cam:554/1,b=rtsp://me:x@cam/2"),
            "a=rtsp://cam:554/1,b=rtsp://***@cam/2");
}

TEST(Text, WhatAMessageQuotesIsMaskedBeforeItIsCut) {
  EXPECT_EQ(said("rtsp://me:" + std::string(50, 'x') + "@cam/1", 20), "rtsp://***@cam/1");
  EXPECT_EQ(said("a\nb"), "a\\x0ab");
}

}  // namespace
}  // namespace fovea
