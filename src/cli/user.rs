//! `voceguida user`: the office's people from the command line; the first administrator comes from here.

use std::{
    io::{BufRead, IsTerminal},
    process::ExitCode,
};

use anyhow::{Context, bail};
use chrono::TimeDelta;

use super::place::Place;
use crate::{
    canteen::EnteId,
    desk::{
        Desk,
        people::{PersonData, Role, login_name},
        trail::Actor,
    },
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Add a person; the password is asked for, or read from standard input's first line.
    Add {
        /// What they log in as.
        login: String,
        /// First and last name; the login name where not told.
        #[arg(long)]
        name: Option<String>,
        /// Mail address.
        #[arg(long)]
        email: Option<String>,
        /// admin, ufficio, cucina, revisore or lettura.
        #[arg(long, default_value = "ufficio", value_parser = role)]
        role: Role,
        /// They have to choose another password at the first login.
        #[arg(long)]
        must_change: bool,
    },
    /// Everybody, with role and state.
    List,
    /// Let a person in no more.
    Disable {
        /// What they log in as.
        login: String,
    },
    /// Let a person in again.
    Enable {
        /// What they log in as.
        login: String,
    },
    /// Give a person a new password; it is asked for, or read from standard input's first line.
    Password {
        /// What they log in as.
        login: String,
        /// They have to choose another one at the next login.
        #[arg(long)]
        must_change: bool,
    },
    /// Print the path of a link that logs a person in, once, within an hour.
    Link {
        /// What they log in as.
        login: String,
    },
}

fn role(word: &str) -> Result<Role, String> {
    word.parse().map_err(|()| format!("one of {}", Role::ALL.map(Role::word).join(", ")))
}

/// Runs the command.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (desk, ente) = args.place.open().await?;
    let actor = Actor::command_line(ente.id);
    match args.command {
        Command::Add { login, name, email, role, must_change } => {
            let Some(login) = login_name(&login) else {
                bail!("a login name has 3 to 64 letters, digits, dots, hyphens, underscores or @");
            };
            let password = read_password()?;
            crate::desk::people::password::check(&password, &[&login, name.as_deref().unwrap_or_default()])?;
            let data = PersonData { name: name.unwrap_or_else(|| login.clone()), login, email, role, second_factor_required: false };
            let person = desk.add_person(&actor, &data).await?;
            desk.give_password(&actor, person.id, &password, must_change).await?;
            println!("{} is added as {}", person.row.login, role.word());
        }
        Command::List => {
            for person in desk.people(ente.id).await? {
                let state = if person.row.disabled_at.is_some() { "disabled" } else { "enabled" };
                let second = if person.row.has_totp || person.row.passkeys > 0 { "second factor" } else { "password only" };
                let last = person
                    .row
                    .last_login_at
                    .map_or_else(|| "never".to_owned(), |at| ente.window.local(at).format("%Y-%m-%d %H:%M").to_string());
                println!("{:<24} {:<9} {state:<9} {second:<14} {last:<17} {}", person.row.login, person.role.word(), person.row.name);
            }
        }
        Command::Disable { login } => desk.let_in(&actor, id_of(&desk, ente.id, &login).await?, false).await?,
        Command::Enable { login } => desk.let_in(&actor, id_of(&desk, ente.id, &login).await?, true).await?,
        Command::Password { login, must_change } => {
            let id = id_of(&desk, ente.id, &login).await?;
            desk.give_password(&actor, id, &read_password()?, must_change).await?;
            println!("the password is changed; {login} is logged out everywhere");
        }
        Command::Link { login } => {
            let id = id_of(&desk, ente.id, &login).await?;
            let person = desk.person(ente.id, id).await?.context("there is no such person")?;
            let link = desk.login_link(&actor, &person, TimeDelta::hours(1)).await?;
            println!("/ufficio/entra/{}", link.reveal());
        }
    }
    desk.db().close().await;
    Ok(ExitCode::SUCCESS)
}

async fn id_of(desk: &Desk, ente: EnteId, login: &str) -> anyhow::Result<i64> {
    let person = desk.person_by_login(login).await?.filter(|p| p.ente == ente);
    Ok(person.with_context(|| format!("there is no {login}"))?.id)
}

/// Never an argument: those stand in the list of processes and in the shell's history.
fn read_password() -> anyhow::Result<String> {
    if std::io::stdin().is_terminal() {
        let password = rpassword::prompt_password("Password: ")?;
        if rpassword::prompt_password("Again: ")? != password {
            bail!("the two passwords differ");
        }
        return Ok(password);
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
