/*
 * The commit and recovery part of wire profile 1, for spin: see README.md beside this file.
 *
 * One node, any number of controllers, any number of auth-servers on one store, and a channel that loses, doubles, delays and
 * reorders. Each of them may be killed between any two steps and starts again from what is durable.
 *
 * Keys and transactions. A transaction has one RN_i, one RN_c and one K_i (that of its first M3), so it makes one PSK. Both bear one
 * number here: key t is the PSK of transaction t. A number is free again once nobody holds the key and no message of the
 * transaction can have an effect: a finite model covers any number of attempts.
 *
 * Channel. A message that was sent is a bit that stays set: it may be delivered at any time, in any order, again and again, or
 * never. Where an answer changes nothing but what its receiver sends next, the two are one step (M3 and M4, M8 and M6): a delay, a
 * loss or a crash between them is one of the second.
 *
 * Time. `dead`: by the window for TS (90 s back) and the limit on a write (30 s) no M7 of a transaction can take effect any more.
 * That happens at some moment after it was opened, and before its candidate is 300 s old: this one relation between the clocks is
 * what rule 4 of the node stands on, and all that is modelled of them.
 *
 * Resets. At any moment an administrator stops the node's agent, puts the device back to IK, which loses all else, and
 * the registry as well, in either order. The device and the registry may differ until both are done. From then on M7s of
 * transactions whose M3 was given before count no more: that is what the 35 s of an auth-server come to.
 *
 * Each step is one of: a message comes; one durable write; somebody is killed; time passes.
 *
 * What stands under #ifdef beside a rule is a mutant that breaks it, for which `check` sees that spin finds out.
 */

#ifndef N
#define N 2 /* candidates that a node keeps: 4 in the profile */
#endif
#ifndef X
#define X 2 /* transactions besides those whose PSKs the node holds */
#endif
#define S (N + 1 + X)

#define NONE 255    /* no key */
#define NOBODYS 254 /* a key that nobody holds any more */
#define IK 253

/* What is durable. */
byte K = IK;    /* auth-server: K_i */
byte conf = IK; /* node: the confirmed key */
byte ncand;
byte cand[N] = NONE; /* node: candidates, oldest first */

/* What goes with a crash of the node. */
mtype = { IDLE, AWAITS_M4, STORED, AWAITS_M6 };
mtype node = IDLE;
byte proving = NONE; /* the transaction whose M4 it has taken */
bool drawnWithRoom;  /* as RN_i was drawn there was room for a candidate */

mtype = { FREE, ASKING, ANSWERED, COMMITTING, FORGOTTEN };
typedef Transaction {
  mtype phase;  /* at its controller */
  bool writing; /* at an auth-server: K_i compared, not yet written */
  bool ours;    /* its RN_i is that of the attempt in progress */
  byte base;    /* the K_i in its M3: M4 opens under that key and no other */
  bool dead;
  bool committed; /* for invariant 2 */
  /* What was sent. M1 is there while the node awaits M4, M2 while the phase is ASKING, M4 once `base` is set. */
  bool m5;
  bool m7;
  bool m6
}
Transaction T[S];

/* Joining stays possible: with -DCALM faults end at any moment, and then the node joins, within so many attempts begun after it. */
#ifndef ATTEMPTS
#define ATTEMPTS 3
#endif
bool calm, joined, waits;
byte attempts;
#ifdef CALM
ltl joining { [] (calm -> <> joined) }
#endif

/* An administrator is at it; what is done by then. */
bool resetting, deviceReset, registryReset;

/* For use within one step, and as they are here between steps. */
byte i, k, place, from, swapped;
bool held;

inline holds(key) {
  held = (conf == key);
  for (k : 0 .. N - 1) {
    held = held || cand[k] == key
  }
  k = 0
}

/*
 * Nothing that is on its way of transaction t can change what the auth-server holds. K_i is replaced by comparison alone, so it is
 * never again what it was but by a reset, from which on M7s from before do not count: an M7 proved under another key is void for
 * good. (A mutant for which that is not so must not forget it.)
 */
#if defined(LATE_WRITE)
#define too_late(t) (T[t].dead && !T[t].writing)
#elif defined(CLOCK_BACK) || defined(FRESH_TS) /* a controller says a TS that the proof is not bound to */
#define too_late(t) false
#else
#define too_late(t) T[t].dead
#endif
#if defined(RESET_NO_WAIT)
#define void(t) (T[t].base != K && T[t].base != IK && (K != t || T[t].phase == FORGOTTEN))
#elif defined(NO_COMPARE)
#define void(t) (T[t].base != K && !T[t].writing && K != t)
#else
#define void(t) (T[t].base != K && (K != t || T[t].phase == FORGOTTEN))
#endif
#define no_proof(t) (!T[t].m7 && (T[t].phase == FORGOTTEN || !T[t].m5 && proving != t))
#ifdef PLAIN
#define spent(t) (T[t].dead && !T[t].writing && proving != t)
#else
#define spent(t) (too_late(t) || no_proof(t) || void(t))
#endif

inline exchange(x, y) {
  swapped = x;
  x = y;
  y = swapped
}

inline renumber(key) {
  if
  :: key == from -> key = place
  :: key == place -> key = from
  :: else
  fi
}

/* Transaction `from` gets the number `place`, and the other way round. */
inline change_places() {
  if
  :: from != place ->
     exchange(T[from].phase, T[place].phase);
     exchange(T[from].writing, T[place].writing);
     exchange(T[from].ours, T[place].ours);
     exchange(T[from].base, T[place].base);
     exchange(T[from].dead, T[place].dead);
     exchange(T[from].committed, T[place].committed);
     exchange(T[from].m5, T[place].m5);
     exchange(T[from].m7, T[place].m7);
     exchange(T[from].m6, T[place].m6);
     for (k : 0 .. S - 1) {
       renumber(T[k].base)
     }
     for (k : 0 .. N - 1) {
       renumber(cand[k])
     }
     k = 0;
     renumber(conf);
     renumber(K);
     renumber(proving)
  :: else
  fi
}

/*
 * Ends every step. Forgets what makes no difference and numbers transactions by what they are, the node's first, so that states which
 * differ in that alone are one (-DPLAIN: with much less of that). Then looks at invariant 1.
 */
inline settle() {
  for (i : 0 .. S - 1) {
    if
    :: T[i].phase != FREE && !T[i].ours && spent(i) ->
       T[i].phase = FORGOTTEN;
       T[i].base = NONE;
       T[i].writing = false;
       T[i].m5 = false;
       T[i].m7 = false;
#ifndef OLD_M6
       T[i].m6 = (T[i].m6 && proving == i);
#endif
       holds(i);
       if
       :: !held && K != i ->
          T[i].phase = FREE;
          T[i].dead = false;
          T[i].committed = false;
          T[i].m6 = false
       :: conf == i -> T[i].dead = true
       :: else
       fi
    :: else
    fi
  }
  for (i : 0 .. S - 1) {
    if
#ifdef RESET_NO_WAIT
    :: T[i].base != NONE && T[i].base != IK ->
#else
    :: T[i].base != NONE ->
#endif
       holds(T[i].base);
       if
       :: !held && K != T[i].base -> T[i].base = NOBODYS
       :: else
       fi
    :: else
    fi
  }
#ifndef PLAIN
  for (i : 0 .. N + S) {
    if
    :: i == 0 -> from = conf
    :: i > 0 && i <= N -> from = cand[i - 1]
    :: else -> from = i - N - 1
    fi;
    if
    :: from < S && (i <= N || from >= place && T[from].phase != FREE) ->
       change_places();
       place++
    :: else
    fi
  }
#endif
  i = 0;
  place = 0;
  from = 0;
  swapped = 0;
  holds(K);
  assert(held || resetting);
  held = false
}

/* ---------------------------------------------------------------------------------------------------------- node (SBI) */

/* Rule 4. */
#if defined(NO_WAIT)
#define room() true
#elif defined(NEVER_EVICT)
#define room() (ncand < N)
#else
#define room() (ncand < N || T[cand[0]].dead)
#endif
#if defined(AGE_AT_M4)
#define may_store() room()
#else
#define may_store() drawnWithRoom
#endif

inline end_attempt() {
  for (i : 0 .. S - 1) {
    T[i].ours = false
  }
  node = IDLE;
  proving = NONE;
  drawnWithRoom = false
}

inline keep_only(key) {
  for (i : 0 .. N - 1) {
    cand[i] = NONE
  }
  ncand = 0;
  conf = key
}

inline drop_oldest() {
  for (i : 1 .. N - 1) {
    cand[i - 1] = cand[i]
  }
  ncand--;
  cand[ncand] = NONE
}

/* Rule 3. Promote, erase and store: one durable write. */
inline store(t) {
  if
#if defined(DROP_OLD_KEY)
  :: true ->
     conf = t;
     ncand = 0
#elif defined(ERASE_NOT_PROMOTE)
  :: T[t].base != conf -> keep_only(conf)
#elif !defined(NO_PROMOTION)
  :: T[t].base != conf -> keep_only(T[t].base)
#endif
  :: else ->
     if
     :: ncand == N -> drop_oldest()
     :: else
     fi
  fi;
#ifndef DROP_OLD_KEY
  cand[ncand] = t;
  ncand++
#endif
}

/* Rule 2. The first M4 that opens counts; one that does not open never will. */
inline receive_m4(t) {
  holds(T[t].base);
#ifdef CONFIRMED_ONLY
  held = (T[t].base == conf);
#endif
  if
  :: !held -> T[t].ours = false
  :: held && T[t].base == conf && !may_store() ->
     end_attempt();
     waits = calm
  :: else ->
#ifdef M5_BEFORE_STORE
     T[t].m5 = true;
#else
     store(t);
#endif
     end_attempt();
     proving = t;
     node = STORED
  fi
}

active proctype Node() {
  do
  :: atomic {
       if
       /* Draws RN_i, sends M1. */
       :: d_step {
            node == IDLE && !joined && !resetting && (!waits || room()) ->
            node = AWAITS_M4;
            waits = false;
            drawnWithRoom = room();
            attempts = attempts + calm;
            assert(attempts <= ATTEMPTS)
          }
       /* Sends M5. */
       :: d_step {
            node == STORED ->
#ifdef M5_BEFORE_STORE
            store(proving);
#endif
            T[proving].m5 = true;
            node = AWAITS_M6
          }
       /* Is killed, or its patience is over: which, once faults have ended, is when nothing else can happen. */
       :: d_step {
            !calm && node != IDLE ->
#ifdef CANDIDATES_IN_MEMORY
            keep_only(conf);
#endif
            end_attempt()
          }
       :: timeout && calm && node != IDLE -> end_attempt()
#ifdef CALM
       :: !calm -> calm = true
#endif
       fi;
       d_step { settle() }
     }
  :: joined -> break
  od
}

/* ---------------------------------------------------------------------------------- controllers (SBR), auth-servers (SBS), time */

/* M1 comes, or a copy of it, and opens a transaction. */
active proctype Opening() {
end:
  do
  :: d_step {
       node == AWAITS_M4 && T[S - 1].phase == FREE ->
       do
       :: T[i].phase != FREE -> i++
       :: else -> break
       od;
       T[i].phase = ASKING;
       T[i].ours = true;
       i = 0
     }
  od
}

/* What happens to transaction t. */
active [S] proctype Course() {
  byte t = _pid - 2;
end:
  do
  :: atomic {
       if
       /* M2 comes, K_i is read, M3 comes back: M4 is sealed. */
       :: d_step {
            T[t].phase == ASKING && !T[t].dead ->
            T[t].base = K;
#ifdef COMMIT_ON_M2
            K = t;
            T[t].committed = true;
#endif
            T[t].phase = ANSWERED
          }
#ifdef STALE_READ
       /* A replica that lags behind still has an earlier key: of those, the node's confirmed one is what can matter. */
       :: d_step {
            T[t].phase == ASKING && !T[t].dead ->
            T[t].base = conf;
            T[t].phase = ANSWERED
          }
#endif
       /* M4 comes. */
       :: d_step {
            T[t].base != NONE && T[t].ours && node == AWAITS_M4 ->
            receive_m4(t)
          }
       /* M5 comes: M7 is sealed. */
       :: d_step {
            T[t].m5 && T[t].phase == ANSWERED ->
            T[t].phase = COMMITTING;
            T[t].m7 = true;
#ifdef M6_BEFORE_COMMIT
            T[t].m6 = true
#endif
          }
       /* M7 comes, and the proof opens under K_i. */
       :: d_step {
            T[t].m7 && !too_late(t) && !T[t].writing && K == T[t].base ->
#ifdef M8_BEFORE_WRITE
            T[t].m6 = true;
#endif
            T[t].writing = true
          }
       /* One durable transaction: K_i compared, and replaced. */
       :: d_step {
            T[t].writing ->
            T[t].writing = false;
            if
#ifdef NO_COMPARE
            :: true ->
#else
            :: K == T[t].base ->
#endif
               K = t;
               T[t].committed = true
            :: else
            fi
          }
       /* That is done, or M7 comes again after it: M8. It comes: M6. */
       :: d_step {
            T[t].m7 && K == t && T[t].phase == COMMITTING ->
            T[t].m6 = true;
            T[t].phase = FORGOTTEN
          }
       /* M6 comes. The PSK is the confirmed key, all else goes: one durable write. Invariant 2. */
       :: d_step {
#if defined(BARE_204)
            node == AWAITS_M6 && proving == t ->
#elif defined(OLD_M6)
            T[t].m6 && node == AWAITS_M6 ->
#else
            T[t].m6 && node == AWAITS_M6 && proving == t ->
#endif
            assert(T[t].committed);
            keep_only(t);
            end_attempt();
            joined = calm
          }
       /* Its controller is killed, or its 60 s are over, or it made room. */
       :: d_step {
            !calm && (T[t].phase == ASKING || T[t].phase == ANSWERED || T[t].phase == COMMITTING) ->
            T[t].phase = FORGOTTEN
          }
#ifdef WRONG_M5_DROPS
       /* Anybody sends a wrong M5 at any moment, and the controller cannot tell: the server's word ends the transaction. */
       :: d_step {
            T[t].phase == ANSWERED || T[t].phase == COMMITTING ->
            T[t].phase = FORGOTTEN
          }
#endif
       /* The auth-server is killed before it has written. */
       :: d_step {
            !calm && T[t].writing ->
            T[t].writing = false
          }
       /* Time passes. */
       :: d_step {
            T[t].phase != FREE && !T[t].dead && (!calm || !T[t].ours && proving != t) ->
            T[t].dead = true;
            T[t].phase = FORGOTTEN;
#ifndef LATE_WRITE
            T[t].writing = false
#endif
          }
       fi;
       d_step { settle() }
     }
  od
}

/* ------------------------------------------------------------------------------------------------------ an administrator */

active proctype Resetting() {
end:
  do
  :: atomic {
       if
       /* The agent is stopped. */
       :: d_step {
            !calm && !resetting ->
            end_attempt();
            resetting = true
          }
       /* The device is installed with its initial key, and holds nothing else. */
       :: d_step {
            resetting && !deviceReset ->
            keep_only(IK);
            deviceReset = true
          }
       /* So is the registry: one durable transaction. */
       :: d_step {
            resetting && !registryReset ->
            K = IK;
#ifndef RESET_NO_WAIT
            for (i : 0 .. S - 1) {
              if
#ifdef RESET_NOT_COMPARED
              :: T[i].base != NONE && !T[i].writing -> T[i].dead = true
#else
              :: T[i].base != NONE ->
                 T[i].dead = true;
                 T[i].writing = false
#endif
              :: else
              fi
            }
            i = 0;
#endif
            registryReset = true
          }
       /* The agent starts. */
       :: d_step {
            deviceReset && registryReset ->
            resetting = false;
            deviceReset = false;
            registryReset = false
          }
       fi;
       d_step { settle() }
     }
  od
}
