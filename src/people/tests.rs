//! People with a real store: the first admin, logins, tokens, and who may change whom.

use std::os::unix::fs::PermissionsExt;

use super::*;

struct House {
    folder: tempfile::TempDir,
    store: Arc<Store>,
    people: People,
}

const NOW: Timestamp = Timestamp(1_767_225_600_000);
const PASSWORD: &str = "correct horse battery";

fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(folder.path()).unwrap().0);
    let people = People::open(Arc::clone(&store), folder.path(), NOW).unwrap();
    House { folder, store, people }
}

fn setup_token(house: &House) -> String {
    std::fs::read_to_string(house.folder.path().join(ADMIN_TOKEN)).unwrap().trim().to_owned()
}

fn by(caller: &Caller) -> By<'_> {
    By { caller, from: "192.0.2.1", now: NOW }
}

fn new_user(name: &str, roles: &[&str]) -> NewUser {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    NewUser { name: name.into(), display: String::new(), roles, password: Some(PASSWORD.into()) }
}

/// With an admin of the name `anna`.
fn with_anna() -> (House, Caller) {
    let house = house();
    let setup = house.people.by_token(&setup_token(&house), NOW).unwrap();
    house.people.add_user(&new_user("anna", &["admin", "commander"]), by(&setup)).unwrap();
    let anna = house.people.log_in("anna", PASSWORD, "192.0.2.1", NOW).unwrap().caller;
    (house, anna)
}

#[test]
fn the_first_admin_comes_by_a_token_of_one_use_that_only_the_service_can_read() {
    let house = house();
    let path = house.folder.path().join(ADMIN_TOKEN);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let token = setup_token(&house);
    assert_eq!(house.people.admin_token(), Some(path.clone()));
    let setup = house.people.by_token(&token, NOW).unwrap();
    assert!(house.people.by_token(&token, NOW.plus_ms(crate::limits::SETUP_TOKEN_MS)).is_err());
    assert!(house.people.by_token(&format!("{token}x"), NOW).is_err());
    let no_admin = house.people.add_user(&new_user("anna", &["viewer"]), by(&setup));
    assert!(matches!(no_admin, Err(Denied::Invalid(_))), "{no_admin:?}");
    house.people.add_user(&new_user("anna", &["admin"]), by(&setup)).unwrap();
    assert!(house.people.by_token(&token, NOW).is_err() && !path.exists() && house.people.admin_token().is_none());
    // Who held it while it was used up has nothing either.
    assert!(house.people.add_user(&new_user("mallory", &["admin"]), by(&setup)).is_err());
    let again = People::open(Arc::clone(&house.store), house.folder.path(), NOW).unwrap();
    assert!(again.admin_token().is_none() && !path.exists());
}

#[test]
fn a_login_that_fails_says_the_same_whoever_it_was() {
    let (house, _) = with_anna();
    let said =
        |name: &str, password: &str| house.people.log_in(name, password, "192.0.2.9", NOW).unwrap_err().to_string();
    assert_eq!(said("anna", "wrong"), said("nobody", "wrong"));
    assert_eq!(said("anna", "wrong"), "name or password is wrong");
    for _ in 0..3 {
        said("anna", "wrong");
    }
    assert_eq!(said("anna", PASSWORD), "too many attempts: come again in 1 s");
    assert!(house.people.log_in("anna", PASSWORD, "192.0.2.9", NOW.plus_ms(1_000)).is_ok());
    house.store.flush().unwrap();
    let page = house.store.audits(&crate::store::Query::default()).unwrap();
    let refused = page.rows.iter().filter(|(_, audit)| audit.action == "login refused").count();
    assert_eq!(refused, 6, "{:?}", page.rows);
}

#[test]
fn what_is_taken_away_is_gone_at_once() {
    let (house, anna) = with_anna();
    house.people.add_user(&new_user("bert", &["responder"]), by(&anna)).unwrap();
    let bert = house.people.log_in("bert", PASSWORD, "192.0.2.2", NOW).unwrap();
    let token = NewToken { user: "bert".into(), ..NewToken::default() };
    let (_, text) = house.people.add_token(&token, by(&bert.caller)).unwrap();
    assert!(house.people.by_token(&text, NOW).unwrap().roles.has(Role::Responder));
    house.people.set_roles("bert", &["viewer".into()], by(&anna)).unwrap();
    assert!(!house.people.by_token(&text, NOW).unwrap().roles.has(Role::Responder));
    assert!(!house.people.by_session(&bert.cookie, NOW).unwrap().roles.has(Role::Responder));
    house.people.set_disabled("bert", true, by(&anna)).unwrap();
    assert!(house.people.by_token(&text, NOW).is_err() && house.people.by_session(&bert.cookie, NOW).is_err());
    assert!(house.people.log_in("bert", PASSWORD, "192.0.2.2", NOW).is_err());
    house.people.set_disabled("bert", false, by(&anna)).unwrap();
    // The session ended; the token did not.
    assert!(house.people.by_token(&text, NOW).is_ok() && house.people.by_session(&bert.cookie, NOW).is_err());
}

#[test]
fn a_token_ends_when_it_expires_or_is_revoked_and_by_its_owner_or_an_admin_only() {
    let (house, anna) = with_anna();
    house.people.add_user(&new_user("bert", &["viewer"]), by(&anna)).unwrap();
    let bert = house.people.log_in("bert", PASSWORD, "192.0.2.2", NOW).unwrap().caller;
    let new = NewToken { user: "anna".into(), days: Some(1), scopes: vec!["read".into()], ..NewToken::default() };
    let (token, text) = house.people.add_token(&new, by(&anna)).unwrap();
    let known = house.people.by_token(&text, NOW).unwrap();
    assert!(known.scopes.has(Scope::Read) && !known.scopes.has(Scope::Incidents) && !known.manages_people());
    assert!(house.people.by_token(&text, NOW.plus_ms(86_400_000)).is_err());
    assert!(matches!(house.people.revoke_token(&token.id, by(&bert)), Err(Denied::NotFound(_))));
    let more = NewToken { user: "anna".into(), scopes: vec!["admin".into()], ..NewToken::default() };
    assert!(matches!(house.people.add_token(&more, by(&known)), Err(Denied::Invalid(_))));
    house.people.revoke_token(&token.id, by(&anna)).unwrap();
    assert!(house.people.by_token(&text, NOW).is_err());
    house.store.flush().unwrap();
    assert_eq!(house.store.token(&token.id).unwrap().unwrap().last_used, Some(NOW));
}

#[test]
fn the_last_admin_stays_one() {
    let (house, anna) = with_anna();
    let last = house.people.set_roles("anna", &["viewer".into()], by(&anna));
    assert!(matches!(last, Err(Denied::Conflict(_))), "{last:?}");
    assert!(matches!(house.people.set_disabled("anna", true, by(&anna)), Err(Denied::Conflict(_))));
    house.people.add_user(&new_user("bert", &["admin"]), by(&anna)).unwrap();
    house.people.set_roles("anna", &["viewer".into()], by(&anna)).unwrap();
    assert!(matches!(house.people.set_disabled("bert", true, by(&anna)), Err(Denied::Conflict(_))));
}

#[test]
fn one_changes_the_own_password_with_the_one_before() {
    let (house, anna) = with_anna();
    house.people.add_user(&new_user("bert", &["viewer"]), by(&anna)).unwrap();
    let bert = house.people.log_in("bert", PASSWORD, "192.0.2.2", NOW).unwrap();
    let new = "another horse battery";
    let set = |before: Option<&str>| house.people.set_password("bert", new, before, by(&bert.caller));
    assert!(matches!(set(None), Err(Denied::Forbidden(_))) && matches!(set(Some("x")), Err(Denied::Forbidden(_))));
    set(Some(PASSWORD)).unwrap();
    assert!(house.people.by_session(&bert.cookie, NOW).is_err());
    assert!(house.people.log_in("bert", PASSWORD, "192.0.2.2", NOW).is_err());
    assert!(house.people.log_in("bert", new, "192.0.2.2", NOW).is_ok());
    house.people.set_password("bert", PASSWORD, None, by(&anna)).unwrap();
    assert!(house.people.set_password("bert", "short", None, by(&anna)).is_err());
}

#[test]
fn names_that_cannot_be_are_refused_with_all_that_is_wrong() {
    let (house, anna) = with_anna();
    for name in ["", "Anna", "a b", "ringfence", "setup", "../x", "a\n", &"x".repeat(65)] {
        let refused = house.people.add_user(&new_user(name, &["viewer"]), by(&anna));
        assert!(matches!(refused, Err(Denied::Invalid(_))), "{name}: {refused:?}");
    }
    let bad = NewUser { password: Some("x".into()), ..new_user("A", &["boss"]) };
    let Err(Denied::Invalid(wrong)) = house.people.add_user(&bad, by(&anna)) else { panic!("it was taken") };
    assert_eq!(wrong.len(), 3, "{wrong:?}");
    assert!(matches!(house.people.add_user(&new_user("anna", &["viewer"]), by(&anna)), Err(Denied::Conflict(_))));
}
