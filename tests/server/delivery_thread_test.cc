#include "server/delivery_thread.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace anyprec {
namespace {

TEST(DeliveryThreadTest, TasksOfOneThreadRunInOrder) {
  std::vector<int> ran;
  std::vector<int> posted;
  {
    DeliveryThread delivery;
    for (int i = 0; i < 1000; ++i) {
      posted.push_back(i);
      delivery.Post([&ran, i] { ran.push_back(i); });
    }
  }
  EXPECT_EQ(ran, posted);
}

TEST(DeliveryThreadTest, TasksOfManyThreadsNeverOverlap) {
  int ran = 0;  // not atomic: the tasks themselves must be ordered
  {
    DeliveryThread delivery;
    std::vector<std::thread> posters;
    for (int i = 0; i < 8; ++i) {
      posters.emplace_back([&] {
        for (int j = 0; j < 500; ++j) delivery.Post([&ran] { ++ran; });
      });
    }
    for (std::thread& poster : posters) poster.join();
  }
  EXPECT_EQ(ran, 8 * 500);
}

TEST(DeliveryThreadTest, ATaskMayPostAnother) {
  std::atomic<bool> ran = false;
  {
    DeliveryThread delivery;
    delivery.Post([&] { delivery.Post([&ran] { ran = true; }); });
  }
  EXPECT_TRUE(ran);
}

}  // namespace
}  // namespace anyprec
