#include "control/request.h"

#include <gtest/gtest.h>

#include "base/errors.h"

namespace davit::control {
namespace {

TEST(Request, ReadsEachTypeOfField) {
  const Request request(R"({"t":"x","f":true,"l":["a","b"],"m":{"k":"v"}})", {"t", "f", "l", "m"});
  EXPECT_EQ(request.text("t"), "x");
  EXPECT_TRUE(request.flag("f"));
  EXPECT_EQ(request.texts("l"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(request.find_map("m")->at("k"), "v");
}

TEST(Request, TakesAbsentAndNullAsEmpty) {
  for (const char* body : {"", "{}", R"({"t":null,"f":null,"l":null,"m":null})"}) {
    const Request request(body, {"t", "f", "l", "m"});
    EXPECT_EQ(request.text("t"), "");
    EXPECT_FALSE(request.find_text("t"));
    EXPECT_FALSE(request.flag("f"));
    EXPECT_TRUE(request.texts("l").empty());
    EXPECT_FALSE(request.find_map("m"));
    EXPECT_THROW(request.get_text("t"), base::UsageError);
  }
}

TEST(Request, RefusesAFieldItDoesNotKnow) {
  try {
    Request(R"({"dry_run":true})", {"targets"});
    FAIL() << "was accepted";
  } catch (const base::UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("'dry_run'"), std::string::npos);
  }
}

TEST(Request, RefusesWrongTypes) {
  const Request request(R"({"t":1,"f":"yes","l":"a","m":["a"],"ll":[1],"mm":{"k":1}})",
                        {"t", "f", "l", "m", "ll", "mm"});
  EXPECT_THROW(request.text("t"), base::UsageError);
  EXPECT_THROW(request.flag("f"), base::UsageError);
  EXPECT_THROW(request.texts("l"), base::UsageError);
  EXPECT_THROW(request.texts("ll"), base::UsageError);
  EXPECT_THROW(request.find_map("m"), base::UsageError);
  EXPECT_THROW(request.find_map("mm"), base::UsageError);
}

TEST(Request, RefusesWhatIsNoJsonObjectWithoutQuotingIt) {
  for (const std::string body : {R"({"new_password":"hunter2)", R"(["hunter2"])", R"("hunter2")",
                                 "hunter2", "\xff\xfe", "{} {}"}) {
    try {
      Request(body, {"new_password"});
      ADD_FAILURE() << "was accepted: " << body;
    } catch (const base::UsageError& error) {
      EXPECT_EQ(std::string(error.what()).find("hunter2"), std::string::npos) << error.what();
    }
  }
}

TEST(Request, BoundsSizeAndDepth) {
  EXPECT_THROW(Request(R"({"t":")" + std::string(2 << 20, 'x') + R"("})", {"t"}), base::UsageError);
  const std::string deep = R"({"t":)" + std::string(100'000, '[') + std::string(100'000, ']') + "}";
  EXPECT_THROW(Request(deep, {"t"}), base::UsageError);
}

}  // namespace
}  // namespace davit::control
