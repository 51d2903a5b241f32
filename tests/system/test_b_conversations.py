"""Turns of a conversation: their order, and the history each model is given."""
import json

from harness import answer, same, scenario, true, wait_until

FLEET = {"models": {"fake-400": {}, "m-slow": {"model": "fake-slow-150"}}}


def play(texts):
    """[(text, answer)] of a conversation in which every turn is answered; the model sees all turns before."""
    history, turns = [], []
    for text in texts:
        history.append(("user", text))
        said = answer(history)
        history.append(("assistant", said))
        turns.append((text, said))
    return turns


def publish_turns(w, session, texts, **fields):
    return [w.post(w.request(text, session=session, user="ann", **fields)) for text in texts]


def check_answers(w, ids, turns, first=1):
    for number, (id, (text, said)) in enumerate(zip(ids, turns), first):
        reply = w.reply(id, 40)
        same(reply["text"], said, "answer to turn %d" % number)
        same((reply["turn"], w.final(id)["turn"]), (number, number), "number of the turn")


def check_messages(w, session, turns):
    rows = w.sql(
        "SELECT m.role, m.content FROM messages m JOIN conversations c ON c.id = m.conversation_id"
        " WHERE c.tenant = %s AND c.session_id = %s ORDER BY m.turn, m.position",
        w.tenant,
        session,
    )
    same(rows, [pair for text, said in turns for pair in (("user", text), ("assistant", said))], "the stored messages")
    ((turn, user),) = w.sql("SELECT turn, user_id FROM conversations WHERE tenant = %s AND session_id = %s", w.tenant, session)
    same((turn, user), (len(turns), "ann"), "the conversation's turn and user")


@scenario
def ten_turns_published_at_once_are_answered_one_after_another(w):
    texts = ["turn number %d" % i for i in range(10)]
    ids = publish_turns(w, "s", texts, models=["m-slow"])
    w.flush()
    check_answers(w, ids, play(texts))
    check_messages(w, "s", play(texts))
    calls = w.calls()
    same(len(calls), 10, "calls at the provider")
    for before, after in zip(calls, calls[1:]):
        true(after["t_ms"] >= before["done_ms"], "a turn began before the one before it was answered")


@scenario
def history_comes_from_redis_and_from_postgresql_when_redis_was_emptied(w):
    texts = ["one", "two", "three", "four", "five"]
    turns = play(texts)
    ids = []
    for number, text in enumerate(texts):
        if number == 3:
            w.redis.flushall()
        ids += publish_turns(w, "s", [text])
        w.flush()
        w.reply(ids[-1])
    check_answers(w, ids, turns)


@scenario
def a_conversation_lives_in_redis_for_a_day_after_its_last_turn(w):
    day = 24 * 3600
    key = "%s:conversation:{%s:s}" % (w.prefix, w.tenant)
    for text in ("one", "two"):
        w.ask(text, session="s", user="ann")
        wait_until(lambda: w.redis.ttl(key) > 1000, what="the conversation in Redis")
        true(day - 60 <= w.redis.ttl(key) <= day, "after turn %r it lives for %d s" % (text, w.redis.ttl(key)))
        w.redis.expire(key, 1000)  # as if most of the day had gone by: the next turn begins a new one
    same([json.loads(turn)["turn"] for turn in w.redis.lrange(key, 0, -1)], [1, 2], "its turns")


@scenario
def a_worker_that_never_saw_the_conversation_goes_on_with_it(w):
    turns = play(["before", "after", "later"])
    ids = publish_turns(w, "s", ["before"])
    w.flush()
    w.reply(ids[0])
    w.worker.term()
    w.start("worker")
    w.redis.flushall()
    ids += publish_turns(w, "s", ["after", "later"])
    w.flush()
    check_answers(w, ids, turns)
    check_messages(w, "s", turns)


@scenario
def two_conversations_interleaved_do_not_mix(w):
    left, right = ["left %d" % i for i in range(6)], ["right %d" % i for i in range(6)]
    ids = [], []
    for a, b in zip(left, right):
        ids[0].extend(publish_turns(w, "left", [a]))
        ids[1].extend(publish_turns(w, "right", [b], models=["m-anthropic"]))
    w.flush()
    check_answers(w, ids[0], play(left))
    check_answers(w, ids[1], play(right))
    check_messages(w, "left", play(left))


@scenario
def the_same_session_name_of_two_tenants_is_two_conversations(w):
    mine, other = w.tenant, w.tenant + "-other"
    a = w.post(w.request("mine", session="s"))
    b = w.post(w.request("theirs", session="s", tenant=other))
    c = w.post(w.request("mine again", session="s"))
    w.flush()
    same(w.reply(c)["text"], play(["mine", "mine again"])[1][1], "the second answer")
    same(w.reply(a)["text"], play(["mine"])[0][1], "the first answer")
    w.tenant = other
    same(w.reply(b)["text"], play(["theirs"])[0][1], "the other tenant's answer")
    w.tenant = mine


@scenario
def a_failed_turn_is_final_and_leaves_no_words_behind(w):
    ids = publish_turns(w, "s", ["one"]) + publish_turns(w, "s", ["two"], models=["fake-400"]) + publish_turns(w, "s", ["three"])
    w.flush()
    turns = play(["one", "three"])
    same(w.reply(ids[1])["error"]["code"], "provider_refused", "the failed turn's code")
    same(w.reply(ids[2])["text"], turns[1][1], "the answer after the failed turn")
    same([w.final(id)["turn"] for id in ids], [1, 2, 3], "turns")


@scenario
def system_messages_are_given_to_the_model_and_not_remembered(w):
    def turn(text):
        messages = [{"role": "system", "content": "rules"}, {"role": "user", "content": text}]
        return w.publish(w.request(input=None, messages=messages, session="s"))

    first = w.reply(turn("one"))["text"]
    same(first, answer([("system", "rules"), ("user", "one")]), "the first answer")
    second = w.reply(turn("two"))["text"]
    same(second, answer([("system", "rules"), ("user", "one"), ("assistant", first), ("user", "two")]), "the second answer")


@scenario
def several_models_of_one_turn_leave_one_answer_in_the_history(w):
    ids = publish_turns(w, "s", ["ask all", "and again"], models=["m-openai", "m-anthropic"], merge={"policy": "all"})
    w.flush()
    turns = play(["ask all", "and again"])
    same(w.reply(ids[1])["text"], turns[1][1], "the second answer")
    wait_until(lambda: w.final(ids[1]), what="the second turn")
    rows = w.sql("SELECT count(*) FROM messages WHERE tenant = %s", w.tenant)
    same(rows, [(4,)], "number of messages")


@scenario(seconds=90)
def fifty_conversations_of_six_turns_keep_their_order_under_load(w):
    turns = {s: play(["%s says %d" % (s, i) for i in range(6)]) for s in ("session-%d" % n for n in range(50))}
    ids = {s: [] for s in turns}
    for number in range(6):
        for session, list_of_turns in turns.items():
            ids[session] += publish_turns(w, session, [list_of_turns[number][0]])
    w.flush()
    w.finals(300)
    for session in turns:
        check_answers(w, ids[session], turns[session])
    same(len(w.calls()), 300, "calls at the provider")
