//! People over the API: logging in, users, tokens.

use super::call::{Call, Reply};
use super::guest::{ADD_USER, COOKIE};
use super::operation::{Access, Operation};
use super::problem::Problem;
use super::wire::{
    Login, Me, PasswordOrder, RolesOrder, TokenDone, TokenList, TokenOrder, TokenView, UserDone, UserList, UserOrder,
    UserView,
};
use crate::clock::Timestamp;
use crate::limits::SESSION_MS;
use crate::people::{Caller, NewToken, NewUser, Proof, Scope};
use crate::store::{Token, User};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/sessions", "log_in", "Log a browser in: gives a cookie", log_in)
            .needs(Access::Open)
            .takes::<Login>()
            .gives::<Me>(),
        Operation::post("/sessions/end", "log_out", "Log a browser out", log_out).needs(Access::Anybody).gives::<Me>(),
        Operation::get("/me", "me", "Who one is, and what one may do", me).needs(Access::Anybody).gives::<Me>(),
        Operation::get("/users", "list_users", "Everybody who may log in", users)
            .needs(Access::Scope(Scope::Read))
            .gives::<UserList>(),
        Operation::post("/users", ADD_USER, "Add a user", add_user)
            .needs(Access::Admin)
            .takes::<UserOrder>()
            .gives::<UserDone>(),
        Operation::post("/users/{name}/roles", "set_roles", "Set somebody's roles", set_roles)
            .needs(Access::Admin)
            .takes::<RolesOrder>()
            .gives::<UserView>(),
        Operation::post("/users/{name}/disable", "disable_user", "Let somebody in no longer", disable)
            .needs(Access::Admin)
            .gives::<UserView>(),
        Operation::post("/users/{name}/enable", "enable_user", "Let somebody in again", enable)
            .needs(Access::Admin)
            .gives::<UserView>(),
        Operation::post(
            "/users/{name}/password",
            "set_password",
            "Set one's own password, or as an admin anybody's",
            password,
        )
        .needs(Access::Anybody)
        .takes::<PasswordOrder>()
        .gives::<UserView>(),
        Operation::get("/tokens", "list_tokens", "One's own tokens, or as an admin everybody's", tokens)
            .needs(Access::Anybody)
            .gives::<TokenList>(),
        Operation::post("/tokens", "add_token", "Make a token for a program; its text is shown once", add_token)
            .needs(Access::Anybody)
            .takes::<TokenOrder>()
            .gives::<TokenDone>(),
        Operation::post("/tokens/{id}/revoke", "revoke_token", "End a token", revoke)
            .needs(Access::Anybody)
            .gives::<TokenList>(),
    ]
}

fn log_in(call: &Call<'_>) -> Result<Reply, Problem> {
    let Login { name, password } = call.body()?;
    let entry = call.office.people.log_in(&name, &password, &call.guest.from, call.now)?;
    let secure = if call.office.is_https { "; Secure" } else { "" };
    let age = SESSION_MS / 1000;
    let cookie = format!("{COOKIE}={}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}", entry.cookie);
    Ok(Reply::json(&who(&entry.caller)).with_cookie(cookie))
}

fn log_out(call: &Call<'_>) -> Result<Reply, Problem> {
    if let Some(cookie) = &call.guest.cookie {
        call.office.people.log_out(cookie, call.by()?);
    }
    let gone = format!("{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
    Ok(Reply::json(&who(call.caller()?)).with_cookie(gone))
}

fn me(call: &Call<'_>) -> Result<Reply, Problem> {
    Ok(Reply::json(&who(call.caller()?)))
}

fn users(call: &Call<'_>) -> Result<Reply, Problem> {
    let users = call.office.people.users()?;
    Ok(Reply::json(&UserList { users: users.iter().map(user_view).collect() }))
}

fn add_user(call: &Call<'_>) -> Result<Reply, Problem> {
    let UserOrder { name, display, roles, password, with_token } = call.body()?;
    let by = call.by()?;
    let user = call.office.people.add_user(&NewUser { name, display, roles, password }, by)?;
    let token = if with_token { Some(call.office.people.add_first_token(&user, by)?) } else { None };
    Ok(Reply::json(&UserDone { user: user_view(&user), token }).created())
}

fn set_roles(call: &Call<'_>) -> Result<Reply, Problem> {
    let RolesOrder { roles } = call.body()?;
    changed(call.office.people.set_roles(call.param("name"), &roles, call.by()?)?)
}

fn disable(call: &Call<'_>) -> Result<Reply, Problem> {
    changed(call.office.people.set_disabled(call.param("name"), true, call.by()?)?)
}

fn enable(call: &Call<'_>) -> Result<Reply, Problem> {
    changed(call.office.people.set_disabled(call.param("name"), false, call.by()?)?)
}

fn password(call: &Call<'_>) -> Result<Reply, Problem> {
    let PasswordOrder { password, before } = call.body()?;
    let (by, name) = (call.by()?, call.param("name"));
    if name != by.caller.name && !by.caller.manages_people() {
        return Err(Problem::Forbidden(format!("{} is no admin: only the own password can be set", by.caller.name)));
    }
    changed(call.office.people.set_password(name, &password, before.as_deref(), by)?)
}

fn changed(user: User) -> Result<Reply, Problem> {
    Ok(Reply::json(&user_view(&user)))
}

fn tokens(call: &Call<'_>) -> Result<Reply, Problem> {
    let caller = call.caller()?;
    let of = (!caller.manages_people()).then_some(caller.name.as_str());
    let tokens = call.office.people.tokens(of)?;
    Ok(Reply::json(&TokenList { tokens: tokens.iter().map(token_view).collect() }))
}

fn add_token(call: &Call<'_>) -> Result<Reply, Problem> {
    let TokenOrder { user, label, scopes, days } = call.body()?;
    let by = call.by()?;
    let user = user.unwrap_or_else(|| by.caller.name.clone());
    if user != by.caller.name && !by.caller.manages_people() {
        return Err(Problem::Forbidden(format!("{} is no admin: a token is for oneself", by.caller.name)));
    }
    let (token, text) = call.office.people.add_token(&NewToken { user, label, scopes, days }, by)?;
    Ok(Reply::json(&TokenDone { token: token_view(&token), text }).created())
}

fn revoke(call: &Call<'_>) -> Result<Reply, Problem> {
    call.office.people.revoke_token(call.param("id"), call.by()?)?;
    tokens(call)
}

fn who(caller: &Caller) -> Me {
    Me {
        name: caller.name.clone(),
        display: caller.display.clone(),
        roles: caller.roles.iter().map(|role| role.as_str().to_owned()).collect(),
        scopes: caller.scopes.words(),
        csrf: match &caller.proof {
            Proof::Session { csrf } => Some(csrf.clone()),
            Proof::Token(_) | Proof::Setup => None,
        },
    }
}

fn user_view(user: &User) -> UserView {
    UserView {
        name: user.name.clone(),
        display: user.display.clone(),
        roles: user.roles.clone(),
        has_password: user.password.is_some(),
        is_disabled: user.is_disabled,
        created: user.created.to_string(),
        changed: user.changed.to_string(),
    }
}

fn token_view(token: &Token) -> TokenView {
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    TokenView {
        id: token.id.clone(),
        user: token.user.clone(),
        label: token.label.clone(),
        scopes: token.scopes.clone(),
        created: token.created.to_string(),
        expires: time(token.expires),
        last_used: time(token.last_used),
        revoked: time(token.revoked),
    }
}
