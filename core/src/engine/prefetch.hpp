#pragma once
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

#include <dtk/dataset.hpp>

namespace dtk {

/// Makes batches ahead of need on a thread of its own: numbers first … last − 1, at most `ahead` of them waiting. It
/// goes on when half of them are taken, so that where it shares a core the two do not take turns at every batch.
class Prefetch {
 public:
    Prefetch(std::function<Batch(std::int64_t number)> make, std::int64_t first, std::int64_t last, std::size_t ahead)
        : half_(ahead / 2), worker_([this, make = std::move(make), first, last, ahead](const std::stop_token& stop) {
              for (auto number = first; number < last && !stop.stop_requested(); ++number) {
                  Made made;
                  try {
                      made.batch = make(number);
                  } catch (...) {
                      made.error = std::current_exception();
                  }
                  std::unique_lock lock(mutex_);
                  if (made_.size() >= ahead && !taken_.wait(lock, stop, [&] { return made_.size() <= ahead / 2; }))
                      return;
                  made_.push_back(std::move(made));
                  if (made_.size() == 1) there_.notify_one();
                  if (made_.back().error) return;
              }
          }) {}

    /// The next batch. Errors: what making it threw.
    Batch next() {
        std::unique_lock lock(mutex_);
        there_.wait(lock, [&] { return !made_.empty(); });
        auto made = std::move(made_.front());
        made_.pop_front();
        if (made_.size() == half_) taken_.notify_one();
        if (made.error) std::rethrow_exception(made.error);
        return std::move(made.batch);
    }

 private:
    struct Made {
        Batch batch;
        std::exception_ptr error;
    };
    std::mutex mutex_;
    const std::size_t half_;
    std::condition_variable there_;
    std::condition_variable_any taken_;
    std::deque<Made> made_;
    std::jthread worker_;  // last: it stops before what it uses goes
};

}  // namespace dtk
