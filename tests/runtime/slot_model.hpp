// An exhaustive search through everything that can happen to a pool of two slots: a writer, two
// readers and a reaper, every interleaving of their single loads, stores, exchanges and system
// calls, with a death between any two of them.
//
// What runs is the product's code: BasicSlotWord and holder_numbers.hpp over an atomic of ours,
// whose every operation is a step. A procedure is replayed from its beginning with the results that
// its first steps had, takes one step more, and is abandoned there until it is its turn again; so
// "where it stands" is the list of those results, a value that can be compared. States that were
// seen are not searched again, which ends the search although readers come and go for ever.
//
// `Code` names what is searched, so that tests can plant a bug and see it found:
//   template <class Atomic> using Word = ...;       // BasicSlotWord<Atomic>
//   static constexpr Order kOrder;                  // of the writer's steps
//   template <class Pool> static bool reap(Pool&, Reservations<2>&, int holder);
//   template <class Pool> static std::optional<int> take(Pool&);
//   template <class W> static bool hold(W&, std::uint32_t generation, int holder, bool reliable);
//
// Sequentially consistent: weaker orders are TSan's part (slot_word_test.cpp).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "nodes/runtime/slots/holder_numbers.hpp"
#include "nodes/runtime/slots/slot_word.hpp"
#include "tests/runtime/single_steps.hpp"

namespace fovea::test::model {

inline constexpr int kSlots = 2;
inline constexpr int kReaders = 2;
inline constexpr int kNumbers = 2;
inline constexpr int kPools = 2;  // incarnations: the writer restarts once
inline constexpr int kMaxMessages = 4;

enum class Order { kRight, kWriteBeforeOwning, kSendBeforeWriting };

enum class Phase : std::uint8_t {
  kDead,
  kStart,
  kIdle,
  // writer
  kLoan,
  kWrite,
  kEnd,
  kSend,
  kServe,
  kReap,
  // reader
  kOpen,
  kHold,
  kRead,
  kDrop,
  kClose,
  kUnlock,
};

enum Actor : std::uint8_t { kWriter, kReader1, kReader2, kReaper, kActors };
inline constexpr std::array<const char*, kActors> kActorNames{"writer", "reader 1", "reader 2",
                                                              "reaper"};

struct Message {
  std::uint8_t pool = 0, slot = 0;
  std::uint32_t generation = 0;
};
struct Request {  // of a reliable reader, or the news that it is gone
  std::uint8_t id = 0;
  bool leaves = false;
};

// What an actor knows between two procedures.
struct Mind {
  Phase phase = Phase::kStart;
  std::uint8_t pool = 0, slot = 0, number = 0;
  std::uint32_t generation = 0;
  std::uint8_t next = 0;     // reader: index of the first message that it has not seen
  std::uint8_t message = 0;  // index of the one that it deals with
  std::uint8_t life = 0;     // reliable readers; 0 = best effort
  bool is_open = false, joined = false;
  std::uint8_t served = 0;  // writer: requests taken in
  detail::Reservations<kNumbers> reservations;
};

template <class Code>
struct Pool {
  static constexpr int kHolders = kNumbers;
  std::array<typename Code::template Word<Atomic<std::uint64_t>>, kSlots> words;
  std::array<Atomic<std::uint64_t>, kNumbers + 1> reserved;
  Atomic<std::uint32_t> adopted_bits;
  std::array<std::uint8_t, kNumbers + 1> lock_owner{};  // actor + 1
  std::array<std::array<Atomic<std::uint64_t>, 2>, kSlots> payload;
};

// A pool as one process sees it.
template <class Code>
struct View {
  static constexpr int kHolders = kNumbers;
  Pool<Code>& pool;
  Actor actor;

  std::uint32_t slot_count() const { return kSlots; }
  void drop(std::uint32_t slot, int holder) { pool.words[slot].drop(holder); }
  bool try_lock(int holder) {
    auto& owner = pool.lock_owner[static_cast<std::size_t>(holder)];
    return Execution::step("lock", [&]() -> std::uint64_t {
             if (owner != 0) return 0;
             owner = static_cast<std::uint8_t>(actor + 1);
             return 1;
           }) != 0;
  }
  void unlock(int holder) {
    Execution::step("unlock", [&]() -> std::uint64_t {
      return pool.lock_owner[static_cast<std::size_t>(holder)] = 0;
    });
  }
  Atomic<std::uint64_t>& reserved_for(int holder) {
    return pool.reserved[static_cast<std::size_t>(holder)];
  }
  Atomic<std::uint32_t>& adopted() { return pool.adopted_bits; }
  [[noreturn]] bool pause() { throw Again{}; }
};

struct Setup {
  int messages = 3;
  int incarnations = 1;
  // Readers that ask for reliable delivery; each lives twice at most. The others come and go for
  // ever.
  int reliable_readers = 0;
  bool has_reaper = true;  // a thread of its own; else the writer reaps, as the product does
};

template <class Code>
class State {
 public:
  std::array<Mind, kActors> minds;
  std::array<Log, kActors> logs;
  std::array<Pool<Code>, kPools> pools;
  std::uint8_t pool_count = 0, message_count = 0, request_count = 0;
  std::array<Message, kMaxMessages> messages;
  std::array<Request, 8> requests;

  // Lets `actor` go on to its next step. Throws Suspended, Choice or Violation.
  void run(Actor actor, const Setup& setup) {
    if (actor == kWriter) return run_writer(setup);
    if (actor == kReaper) return run_reaper();
    run_reader(actor, setup);
  }

  bool can_run(Actor actor, const Setup& setup) const {
    const Mind& mind = minds[actor];
    if (actor == kReaper) return setup.has_reaper && pool_count > 0;
    if (actor == kWriter) return mind.phase != Phase::kDead || pool_count < setup.incarnations;
    if (mind.phase == Phase::kDead) return !is_reliable(actor, setup) || mind.life < 2;
    return mind.phase != Phase::kIdle || mind.next < message_count || !is_reliable(actor, setup);
  }

  bool can_die(Actor actor, const Setup& setup) const {
    return minds[actor].phase != Phase::kDead && (actor != kReaper || setup.has_reaper);
  }

  // What the kernel and ZeroMQ do when a process ends, at any instant.
  void die(Actor actor) {
    for (auto& pool : pools) {
      for (auto& owner : pool.lock_owner) {
        if (owner == actor + 1) owner = 0;
      }
    }
    const Mind before = minds[actor];
    minds[actor] = {};
    minds[actor].phase = actor == kReaper ? Phase::kStart : Phase::kDead;
    minds[actor].life = before.life;
    logs[actor].clear();
    if (before.life > 0) requests[request_count++] = {id_of(actor, before), true};
  }

  // What must hold in every state.
  void check(const Setup& setup) const {
    for (const Actor reader : {kReader1, kReader2}) check_reader(reader, setup);
    if (minds[kReader1].phase == Phase::kDead && minds[kReader2].phase == Phase::kDead)
      check_nothing_leaks();
  }

  // What must hold from one state to the next.
  void check_step_from(const State& before) const {
    for (std::size_t p = 0; p < kPools; ++p) {
      for (std::size_t s = 0; s < kSlots; ++s) {
        const std::uint32_t then = before.pools[p].words[s].generation();
        const std::uint32_t now = pools[p].words[s].generation();
        if (now != then && now != then + 1) throw Violation{"a generation went back"};
      }
    }
  }

  // The same with the two readers' names exchanged, which is the same if both are best effort.
  State mirrored() const {
    State other = *this;
    std::swap(other.minds[kReader1], other.minds[kReader2]);
    std::swap(other.logs[kReader1], other.logs[kReader2]);
    for (auto& pool : other.pools) {
      for (auto& owner : pool.lock_owner) {
        if (owner == kReader1 + 1 || owner == kReader2 + 1)
          owner = static_cast<std::uint8_t>(kReader1 + kReader2 + 2 - owner);
      }
    }
    return other;
  }

  template <class Add>
  void visit(Add add) const {
    for (const Mind& m : minds) {
      add(static_cast<std::uint64_t>(m.phase) | std::uint64_t{m.pool} << 8 |
          std::uint64_t{m.slot} << 16 | std::uint64_t{m.number} << 24 |
          std::uint64_t{m.generation} << 32);
      add(m.next | std::uint64_t{m.message} << 8 | std::uint64_t{m.life} << 16 |
          std::uint64_t{m.is_open} << 24 | std::uint64_t{m.joined} << 25 |
          std::uint64_t{m.served} << 32);
      for (const std::uint64_t id : m.reservations.id) add(id);
    }
    for (const Log& log : logs) {
      add(log.size());
      for (std::size_t i = 0; i < log.size(); ++i) add(log[i]);
    }
    for (const auto& pool : pools) {
      for (std::size_t s = 0; s < kSlots; ++s) {
        add(std::uint64_t{pool.words[s].generation()} << 32 | pool.words[s].holders());
        add(pool.payload[s][0].peek() << 32 | pool.payload[s][1].peek());
      }
      for (const auto& id : pool.reserved) add(id.peek());
      std::uint64_t locks = pool.adopted_bits.peek();
      for (const std::uint8_t owner : pool.lock_owner) locks = locks << 8 | owner;
      add(locks);
    }
    add(pool_count | message_count << 8 | request_count << 16);
    for (std::size_t i = 0; i < message_count; ++i)
      add(messages[i].pool | messages[i].slot << 8 | std::uint64_t{messages[i].generation} << 32);
    for (std::size_t i = 0; i < request_count; ++i) add(requests[i].id | requests[i].leaves << 8);
  }

 private:
  static bool is_reliable(Actor reader, const Setup& setup) {
    return reader - kReader1 < setup.reliable_readers;
  }
  static std::uint8_t id_of(Actor reader, const Mind& mind) {
    return static_cast<std::uint8_t>(reader * 10 + mind.life);
  }
  View<Code> view(Actor actor, std::size_t pool) { return {pools[pool], actor}; }

  // A procedure works on a copy of the mind, which counts once the procedure is through.
  void finish(Actor actor, const Mind& mind) {
    minds[actor] = mind;
    logs[actor].clear();
  }

  void run_writer(const Setup& setup) {
    Mind mind = minds[kWriter];
    auto& word = pools[mind.pool].words[mind.slot];
    auto& payload = pools[mind.pool].payload[mind.slot];
    const auto write = [&] {
      const std::uint64_t number =
          message_count + (Code::kOrder == Order::kSendBeforeWriting ? 0u : 1u);
      payload[0].store(number, std::memory_order_relaxed);
      payload[1].store(number, std::memory_order_relaxed);
    };
    const auto begin = [&] {
      const auto generation = word.begin_write();
      if (generation) mind.generation = *generation;
      return generation.has_value();
    };
    using enum Phase;
    switch (mind.phase) {
      case kDead:
        mind = {};
        break;
      case kStart:
        mind.pool = static_cast<std::uint8_t>(
            Execution::step("create a pool", [&]() -> std::uint64_t { return pool_count++; }));
        mind.phase = kIdle;
        break;
      case kIdle: {
        const bool may_loan = message_count < setup.messages;
        const bool may_serve = mind.served < request_count;
        const int loans = may_loan ? kSlots : 0, reaps = setup.has_reaper ? 0 : kNumbers;
        const int way = Execution::choose(loans + reaps + (may_serve ? 1 : 0));
        if (way < loans) {
          mind.slot = static_cast<std::uint8_t>(way);
          mind.phase = Code::kOrder == Order::kWriteBeforeOwning ? kWrite : kLoan;
        } else if (way < loans + reaps) {
          mind.number = static_cast<std::uint8_t>(way - loans + 1);
          mind.phase = kReap;
        } else {
          mind.phase = kServe;
        }
        break;
      }
      case kLoan:
        if (!begin()) {
          mind.phase = kIdle;
        } else {
          mind.phase = Code::kOrder == Order::kRight ? kWrite : kEnd;
        }
        break;
      case kWrite:
        write();
        mind.phase = Code::kOrder == Order::kRight               ? kEnd
                     : Code::kOrder == Order::kWriteBeforeOwning ? kLoan
                                                                 : kIdle;
        break;
      case kEnd:
        word.end_write(mind.reservations.mask);
        mind.phase = kSend;
        break;
      case kSend:
        Execution::step("send", [&]() -> std::uint64_t {
          messages[message_count++] = {mind.pool, mind.slot, mind.generation};
          return 0;
        });
        mind.phase = Code::kOrder == Order::kSendBeforeWriting ? kWrite : kIdle;
        break;
      case kServe: {
        const Request request = requests[mind.served];
        auto numbers = view(kWriter, mind.pool);
        if (request.leaves) {
          detail::release_number(numbers, mind.reservations, request.id);
        } else {
          detail::reserve_number(numbers, mind.reservations, request.id);
        }
        ++mind.served;
        mind.phase = kIdle;
        break;
      }
      default: {
        auto numbers = view(kWriter, mind.pool);
        Code::reap(numbers, mind.reservations, mind.number);
        mind.number = 0;
        mind.phase = kIdle;
      }
    }
    if (mind.phase == kIdle) mind.slot = 0, mind.generation = 0;
    finish(kWriter, mind);
  }

  // Sweeps the newest pool for ever.
  void run_reaper() {
    Mind mind = minds[kReaper];
    if (mind.phase == Phase::kStart) {
      mind.pool = static_cast<std::uint8_t>(pool_count - 1);
      mind.number = 1;
      mind.phase = Phase::kReap;
      return finish(kReaper, mind);
    }
    auto numbers = view(kReaper, mind.pool);
    Code::reap(numbers, mind.reservations, mind.number);
    if (++mind.number > kNumbers) mind = {};
    finish(kReaper, mind);
  }

  void run_reader(Actor reader, const Setup& setup) {
    Mind mind = minds[reader];
    const bool reliable = is_reliable(reader, setup);
    using enum Phase;
    switch (mind.phase) {
      case kDead: {
        const std::uint8_t life = mind.life;
        mind = {};
        mind.life = life;
        break;
      }
      case kStart:
        if (reliable) {  // subscribes: from here on it gets what is sent
          mind.life = static_cast<std::uint8_t>(mind.life + 1);
          mind.next = static_cast<std::uint8_t>(Execution::step("request", [&]() -> std::uint64_t {
            requests[request_count++] = {id_of(reader, mind), false};
            return message_count;
          }));
        }
        mind.phase = kIdle;
        break;
      case kIdle: {
        // Best effort: messages in between may be dropped; or it stops reading.
        const int waiting = message_count - mind.next;
        const int way = Execution::choose(reliable ? 1 : waiting + 1);
        if (way == waiting) {
          mind.phase = mind.is_open ? kClose : kDead;
          break;
        }
        mind.message = static_cast<std::uint8_t>(mind.next + way);
        const Message& message = messages[mind.message];
        if (mind.is_open && message.pool != mind.pool) {
          mind.phase = kClose;
          break;
        }
        mind.pool = message.pool;
        mind.next = static_cast<std::uint8_t>(mind.message + 1);
        mind.phase = mind.is_open ? kHold : kOpen;
        break;
      }
      case kOpen: {
        auto numbers = view(reader, mind.pool);
        const auto number = reliable ? detail::take_reserved_number(numbers, id_of(reader, mind))
                                     : Code::take(numbers);
        mind.number = static_cast<std::uint8_t>(number.value_or(0));
        mind.is_open = number.has_value();
        mind.phase = number ? kHold : kIdle;
        break;
      }
      case kHold: {
        const Message& message = messages[mind.message];
        const bool held = Code::hold(pools[mind.pool].words[message.slot], message.generation,
                                     mind.number, reliable);
        if (!held && mind.joined) throw Violation{"a reliable reader lost a message"};
        mind.slot = message.slot;
        mind.generation = message.generation;
        mind.joined = mind.joined || (reliable && held);
        mind.phase = held ? kRead : kIdle;
        break;
      }
      case kRead: {
        auto& payload = pools[mind.pool].payload[mind.slot];
        // In one step: half read now and half later would see no more than this at every instant.
        const std::uint64_t both =
            Execution::step("read", [&] { return payload[0].peek() << 32 | payload[1].peek(); });
        const std::uint64_t first = both >> 32, second = both & 0xffffffff;
        if (first != mind.message + 1u || second != mind.message + 1u) {
          throw Violation{fmt::format("{} accepted a torn message: {} and {} of message {}",
                                      kActorNames[reader], first, second, mind.message + 1)};
        }
        mind.phase = kDrop;
        break;
      }
      case kDrop:
        pools[mind.pool].words[mind.slot].drop(mind.number);
        mind.phase = kIdle;
        break;
      case kClose: {
        auto numbers = view(reader, mind.pool);
        detail::clear_holder(numbers, mind.number);
        mind.phase = kUnlock;
        break;
      }
      default: {
        auto numbers = view(reader, mind.pool);
        numbers.unlock(mind.number);
        mind.is_open = false;
        mind.number = 0;
        mind.phase = kIdle;
      }
    }
    if (mind.phase == kIdle) mind.slot = mind.message = 0, mind.generation = 0;
    if (!mind.is_open && mind.phase == kIdle) mind.pool = 0;
    finish(reader, mind);
  }

  static bool is_held(const Mind& mind) {
    return mind.phase == Phase::kRead || mind.phase == Phase::kDrop;
  }

  void check_reader(Actor reader, const Setup& setup) const {
    const Mind& mind = minds[reader];
    if (is_held(mind)) {
      const auto& word = pools[mind.pool].words[mind.slot];
      if ((word.holders() & 1) != 0)
        throw Violation{fmt::format("{} holds a slot that is being written", kActorNames[reader])};
      if ((word.holders() >> mind.number & 1) == 0)
        throw Violation{fmt::format("the bit of {}, which lives, is gone", kActorNames[reader])};
      if (word.generation() != mind.generation)
        throw Violation{fmt::format("the slot of {} was recycled", kActorNames[reader])};
    }
    if (!mind.is_open || mind.phase == Phase::kClose) return;
    for (std::size_t s = 0; s < kSlots; ++s) {
      const auto& word = pools[mind.pool].words[s];
      const bool reads = is_held(mind) && mind.slot == s;
      if ((word.holders() >> mind.number & 1) == 0 || reads || is_on_its_way(reader, s, setup))
        continue;
      throw Violation{
          fmt::format("{} lives and will never give slot {} back", kActorNames[reader], s)};
    }
  }

  // A message that a reliable reader will still see lies in the slot.
  bool is_on_its_way(Actor reader, std::size_t slot, const Setup& setup) const {
    if (!is_reliable(reader, setup)) return false;
    const Mind& mind = minds[reader];
    const std::uint32_t generation = pools[mind.pool].words[slot].generation();
    for (std::size_t i = mind.phase == Phase::kHold ? mind.message : mind.next; i < message_count;
         ++i) {
      if (messages[i].slot == slot && messages[i].generation == generation) return true;
    }
    const Mind& writer = minds[kWriter];
    return (writer.phase == Phase::kSend || writer.phase == Phase::kDead) &&
           (writer.phase == Phase::kDead || writer.slot == slot);
  }

  // All readers are gone: one more sweep, and every slot of the living pool is free.
  void check_nothing_leaks() const {
    const Mind& writer = minds[kWriter];
    if (writer.phase != Phase::kIdle || writer.served < request_count || logs[kReaper].size() > 0)
      return;
    State after = *this;
    auto numbers = after.view(kWriter, writer.pool);
    for (int number = 1; number <= kNumbers; ++number)
      Code::reap(numbers, after.minds[kWriter].reservations, number);
    for (const auto& word : after.pools[writer.pool].words) {
      if (word.holders() != 0) throw Violation{"a slot is held by the dead for ever"};
    }
  }
};

}  // namespace fovea::test::model
