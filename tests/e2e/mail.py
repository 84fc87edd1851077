"""That the mail servers the other scripts send to do what they are told: Postfix, smtp-sink and the scripted sink.

Sent to with Python's own smtplib, so that a fault shows here and not as one of Ringfence's.
"""
import smtplib, socket, ssl, sys

from mailservers import DROP, KEEP_DROP, KEEP_SILENT, SILENT, Postfix, Sink, SmtpSink, certificate
from stage import Stage, wait_for

LETTER = "Message-ID: <{id}.s@example.net>\r\nX-Ringfence-Delivery: {id}\r\nSubject: hello\r\n\r\nWhat is known.\r\n"


def check(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: expected {expected!r}, found {found!r}")


def send(port, name, to="ann@box.test", timeout=3, client=smtplib.SMTP, **more):
    """What became of one mail, in the words of an outbox, by a client that knows nothing of Ringfence."""
    try:
        with client("127.0.0.1", port, timeout=timeout, **more) as smtp:
            smtp.sendmail("ringfence@example.net", [to], LETTER.format(id=name))
        return "taken"
    except smtplib.SMTPRecipientsRefused as e:
        return str(next(iter(e.recipients.values()))[0])
    except smtplib.SMTPServerDisconnected as e:
        return "no answer" if "timed out" in str(e) else "dropped"
    except smtplib.SMTPResponseException as e:
        return str(e.smtp_code)
    except TimeoutError:
        return "no answer"
    except OSError:
        return "dropped"


def scripted():
    with Sink() as sink:
        check("a mail", send(sink.port, "DLV-1"), "taken")
        mail = sink.received[0]
        check("its parts", (mail.message_id, mail.delivery, mail.recipient, mail.sender, mail.text.strip(), mail.kept),
              ("<DLV-1.s@example.net>", "DLV-1", "ann@box.test", "ringfence@example.net", "What is known.", True))
        for step, act, expected in [
            ("greeting", "421 busy", "421"), ("mail", "451 later", "451"), ("mail", "550 no", "550"),
            ("rcpt", "450 later", "450"), ("rcpt", "550 no", "550"), ("data", "554 no", "554"), ("dot", "451 later", "451"),
            ("dot", "552 no", "552"), ("mail", DROP, "dropped"), ("rcpt", DROP, "dropped"), ("data", DROP, "dropped"),
            ("dot", DROP, "dropped"), ("dot", KEEP_DROP, "dropped"),
        ]:
            sink.plan(step, act)
            check(f"{act} to {step}", send(sink.port, "DLV-2"), expected)
        for step, act in [("greeting", SILENT), ("rcpt", SILENT), ("data", SILENT), ("dot", SILENT), ("dot", KEEP_SILENT)]:
            sink.plan(step, act)
            check(f"{act} at {step}", send(sink.port, "DLV-3", timeout=0.5), "no answer")
        check("what was kept", [m.delivery for m in sink.taken], ["DLV-1", "DLV-2", "DLV-3"])
        check("what came whole", len(sink.received), 1 + 4 + 2)
        sink.always("rcpt", "450 later")
        check("a rule", [send(sink.port, "DLV-4") for _ in range(3)], ["450"] * 3)
        sink.always("rcpt", None)
        sink.stop()
        check("a sink that is off", send(sink.port, "DLV-5"), "dropped")
        sink.start()
        check("and on again", (send(sink.port, "DLV-6"), sink.taken[-1].delivery), ("taken", "DLV-6"))


def encrypted(folder):
    files = certificate(folder)
    trusting = ssl.create_default_context(cafile=files[0])
    with Sink(tls="implicit", files=files) as sink:
        check("implicit TLS", send(sink.port, "DLV-1", client=smtplib.SMTP_SSL, context=trusting), "taken")
    with Sink(tls="starttls", files=files, login=("ringfence", "hunter2")) as sink:
        check("in the clear", send(sink.port, "DLV-1"), "530")
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=5) as smtp:
            smtp.starttls(context=trusting)
            try:
                smtp.login("ringfence", "wrong")
                sys.exit("a wrong password was let in")
            except smtplib.SMTPAuthenticationError:
                pass
            smtp.login("ringfence", "hunter2")
            smtp.sendmail("ringfence@example.net", ["ann@box.test"], LETTER.format(id="DLV-2"))
        check("after logging in", [m.delivery for m in sink.taken], ["DLV-2"])


def postfix(stage):
    with Postfix(stage) as server:
        check("unknown to Postfix", send(server.port, "DLV-1", "unknown@box.test"), "554")
        check("greylisted by Postfix", send(server.port, "DLV-1", "greylisted@box.test"), "450")
        check("to Postfix", send(server.port, "DLV-2"), "taken")
        check("a canary", send(server.port, "CANARY-1", "canary@box.test"), "taken")
        wait_for("Postfix to deliver", lambda: server.arrived() and server.arrived("canary"))
        mail = server.arrived()[0]
        check("what arrived", (mail.delivery, mail.recipient, mail.sender), ("DLV-2", "ann@box.test", "ringfence@example.net"))
        check("the canary's inbox", [m.delivery for m in server.arrived("canary")], ["CANARY-1"])
        wait_for("an empty queue", lambda: server.queued() == [])
        server.stop()
        check("a stopped Postfix", send(server.port, "DLV-3"), "dropped")
        server.start()
        check("and started again", send(server.port, "DLV-3"), "taken")
        wait_for("Postfix to deliver again", lambda: len(server.arrived()) == 2)
        server.stop(9)
        check("a killed Postfix", send(server.port, "DLV-4"), "dropped")
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", server.port))


def fast(stage):
    with SmtpSink(stage, keeps=True) as server:
        check("to smtp-sink", send(server.port, "DLV-1"), "taken")
        wait_for("its file", lambda: [(m.delivery, m.recipient) for m in server.received] == [("DLV-1", "ann@box.test")])


with Stage() as stage:
    scripted()
    encrypted(stage.folder)
    fast(stage)
    postfix(stage)
print("the scripted sink, smtp-sink and Postfix do as they are told")
